"""The baseline: the mean colour of each vertex of the registered mesh, baked from a release's own images.

Nothing is learned and nothing is rendered but the mesh with its colours. Only training captures and cameras are looked
at, and of their pixels only those of the training mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from scipy.sparse import coo_array

from palm_data.colour import linear_from_srgb, srgb_from_linear
from palm_data.evaluate.true_skin import pooled, rendered
from palm_data.hand.model import HandModel
from palm_data.loader.sample import Sample, View
from palm_data.maps.predicted import PredictedView
from palm_data.maps.surface import vertex_normals
from palm_data.maps.zbuffer import Raster
from schemas.camera import Camera
from schemas.errors import BadInputError
from schemas.ids import CameraId

_MIN_COSINE = 0.2
"""Surface that is seen at a flatter angle than this gives no colour."""
_FILL_STEPS = 64


@dataclass(frozen=True, eq=False)
class BakedColours:
    """sRGB sums over what was seen of each vertex."""

    total: Float[ndarray, "vertices 3"]
    weight: Float[ndarray, "vertices"]

    @classmethod
    def none(cls, vertices: int) -> "BakedColours":
        """Nothing seen of any vertex."""
        return cls(np.zeros((vertices, 3)), np.zeros(vertices))

    def __add__(self, other: "BakedColours") -> "BakedColours":
        return BakedColours(self.total + other.total, self.weight + other.weight)

    def mean(self, faces: Int[ndarray, "faces 3"], fallback: "BakedColours | None" = None) -> Float[ndarray, "v 3"]:
        """The mean of each vertex; where nothing was seen, the fallback's, and after that the neighbours'."""
        colour = self.total / np.maximum(self.weight, 1e-9)[:, None]
        known = self.weight > 0
        if fallback is not None:
            there = ~known & (fallback.weight > 0)
            colour[there] = (fallback.total / np.maximum(fallback.weight, 1e-9)[:, None])[there]
            known = known | there
        return _filled(colour, known, faces)


def bake_capture(
    sample: Sample, vertices: Float[ndarray, "v 3"], model: HandModel, cameras: Sequence[CameraId]
) -> BakedColours:
    """What the cameras see of each vertex in one capture: each pixel's colour counts for its triangle's corners.

    Raises:
        StoreError: if the capture has no such camera.
    """
    baked = BakedColours.none(len(vertices))
    normals = vertex_normals(vertices, model.faces)
    for camera_id in cameras:
        view = sample.view(camera_id)
        if view.present:
            baked = baked + _bake_view(view, rendered(vertices, model.faces, view.camera, normals=normals), model)
    return baked


def show(
    vertices: Float[ndarray, "v 3"],
    colours: Float[ndarray, "v 3"],
    model: HandModel,
    camera: Camera,
    *,
    factor: int = 1,
) -> PredictedView:
    """The mesh with its colours in an undistorted camera, before black.

    Args:
        factor: samples a pixel and axis for colour and opacity, averaged as light.
    """
    normals = vertex_normals(vertices, model.faces)
    raster, fine = (rendered(vertices, model.faces, camera, one, normals) for one in (1, factor))
    hit = fine.face_id >= 0
    light = np.zeros((*hit.shape, 3), np.float32)
    light[hit] = np.einsum(
        "nc,nci->ni", fine.barycentric[hit], linear_from_srgb(colours)[model.faces[fine.face_id[hit]]]
    )
    return PredictedView(
        rgb=srgb_from_linear(pooled(light, factor)).astype(np.float32),
        opacity=pooled(hit[..., None].astype(np.float32), factor)[..., 0],
        normal=(raster.normal @ np.asarray(camera.rotation, np.float32)).astype(np.float32),
        depth=raster.depth,
    )


def _bake_view(view: View, raster: Raster, model: HandModel) -> BakedColours:
    towards = _towards_camera(view.camera)
    cosine = -(raster.normal * towards).sum(axis=2)
    seen = (raster.face_id >= 0) & view.training_mask & (cosine > _MIN_COSINE)
    corners = model.faces[raster.face_id[seen]]
    weights = raster.barycentric[seen].astype(np.float64)
    colours = view.rgb[seen].astype(np.float64) / 255.0
    count = len(model.v_template)
    flat = corners.ravel()
    total = [np.bincount(flat, (weights * colours[:, [channel]]).ravel(), count) for channel in range(3)]
    return BakedColours(np.stack(total, axis=1), np.bincount(flat, weights.ravel(), count))


def _towards_camera(camera: Camera) -> Float32[ndarray, "height width 3"]:
    """Unit vectors from the camera through each pixel's centre, in camera axes."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    across, down = np.meshgrid(x, y)
    rays = np.stack([across, down, np.ones_like(across)], axis=2)
    return (rays / np.linalg.norm(rays, axis=2, keepdims=True)).astype(np.float32)


def _filled(colour: Float[ndarray, "v 3"], known: ndarray, faces: Int[ndarray, "faces 3"]) -> Float[ndarray, "v 3"]:
    """Unknown vertices take the mean of their known neighbours, ring by ring.

    Raises:
        BadInputError: if nothing is known at all.
    """
    if not known.any():
        raise BadInputError("baked colours", field="views", expected="a view that shows the hand", found="none")
    start, end = (
        np.concatenate([faces, faces[:, [1, 2, 0]]]).ravel(),
        np.concatenate([faces[:, [1, 2, 0]], faces]).ravel(),
    )
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(len(colour), len(colour))).tocsr()
    graph.data[:] = 1.0  # an edge of two triangles counts once
    for _ in range(_FILL_STEPS):
        if known.all():
            break
        count = graph @ known.astype(np.float64)
        reached = ~known & (count > 0)
        around = graph @ np.where(known[:, None], colour, 0.0)
        colour[reached] = around[reached] / count[reached, None]
        known = known | reached
    colour[~known] = colour[known].mean(axis=0)
    return colour
