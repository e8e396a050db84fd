"""Texels of the captured mesh's texture: which face and where on it, for all people alike."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from palm_data.simulate.features import SurfaceFeatures, nail_mask, surface_features
from palm_data.simulate.template import CaptureTemplate, capture_template, vertex_normals


@dataclass(frozen=True, eq=False)
class Chart:
    """Texels that a face covers, row by row from the top of the image (v = 1)."""

    size: int
    covered: Bool[ndarray, "size size"]
    nearest: Int[ndarray, "size size"]
    """For each texel, the row (among the covered ones) of the covered texel nearest to it: itself if covered."""
    face: Int[ndarray, "texels"]
    """Base face of each covered texel."""
    barycentric: Float[ndarray, "texels 3"]
    features: SurfaceFeatures

    def image(self, values: Float[ndarray, "texels *c"]) -> Float[ndarray, "size size *c"]:
        """The values as a whole image; texels outside take the nearest one's, so that filtering finds no seam."""
        return values[self.nearest].astype(np.float32)

    def interpolate(self, per_base_vertex: Float[ndarray, "base *c"]) -> Float[ndarray, "texels *c"]:
        """Values at the base mesh's vertices, at each covered texel."""
        corners = per_base_vertex[capture_template().base_faces[self.face]]
        return np.einsum("tk,tk...->t...", self.barycentric, corners)


@lru_cache(maxsize=2)
def texture_chart(size: int) -> Chart:
    """The chart of a texture of `size`² texels; kept for the next person."""
    template = capture_template()
    owner, barycentric = _rasterise(template, size)
    covered = owner >= 0
    face, weights = owner[covered], barycentric[covered]
    points, normals, skinning = (
        np.einsum("tk,tkc->tc", weights, attribute[template.base_faces[face]])
        for attribute in (
            template.base_vertices,
            vertex_normals(template.base_vertices, template.base_faces),
            template.base_weights,
        )
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    model_uv = np.einsum("tk,tkc->tc", weights, template.model_uv[template.base_uv_faces[face]])
    features = surface_features(template, points, normals, skinning, nail_mask(model_uv))
    return Chart(size, covered, _nearest_covered(covered), face, weights, features)


def _rasterise(template: CaptureTemplate, size: int) -> tuple[Int[ndarray, "size size"], Float[ndarray, "size size 3"]]:
    """The base face under each texel's centre (−1: none) and the barycentric coordinates there."""
    owner = np.full((size, size), -1, np.int32)
    barycentric = np.zeros((size, size, 3))
    corners = template.base_uv[template.base_uv_faces] * [size, -size] + [0.0, size]
    for face, (a, b, c) in enumerate(corners):
        low = np.maximum(np.floor(np.minimum(np.minimum(a, b), c) - 0.5).astype(int), 0)
        high = np.minimum(np.ceil(np.maximum(np.maximum(a, b), c) + 0.5).astype(int), size)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if template.cap_face[face] or abs(area) < 1e-12:
            continue
        second = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        third = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        inside = (second >= -1e-9) & (third >= -1e-9) & (second + third <= 1.0 + 1e-9)
        rows, columns = np.nonzero(inside)
        second, third = second[inside], third[inside]
        place = (rows + low[1], columns + low[0])
        owner[place] = face
        barycentric[place] = np.stack([1.0 - second - third, second, third], axis=1)
    return owner, barycentric


def _nearest_covered(covered: ndarray) -> Int[ndarray, "size size"]:
    rows = np.full(covered.shape, -1, np.int64)
    rows[covered] = np.arange(covered.sum())
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros(labels.max() + 1, np.int64)
    by_label[labels[covered]] = rows[covered]
    return by_label[labels]
