"""Where each triangle of the hand lies in a texture: the hand model's own charts, packed to fill it.

A model may share its layout with a whole body and use a hundredth of it; its charts are scaled to their area on the
hand and set side by side. A model without texture coordinates gets a chart for each triangle.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from palm_data.hand.model import HandModel

_GAP = 0.01
"""Room about each chart, as a share of the texture's side."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Texture coordinates as glTF has them."""

    uv: Float[ndarray, "u 2"]
    """0 to 1, from the texture's upper left corner, v down; float32."""
    faces: Int[ndarray, "f 3"]
    """Rows of `uv` for each corner of each triangle."""


def hand_atlas(model: HandModel) -> Atlas:
    """The hand model's texture layout: charts do not overlap, and have room about them."""
    if model.vt is None or model.ft is None:
        return _triangle_charts(len(model.faces))
    charts = _charts(model.ft, len(model.vt))
    boxes = [_scaled(model, model.vt, model.ft, charts == one) for one in range(charts.max() + 1)]
    places, side = _shelves([np.ptp(box, axis=0) for box in boxes])
    uv = np.zeros((len(model.vt), 2))
    for one, (box, place) in enumerate(zip(boxes, places, strict=True)):
        uv[charts == one] = (box - box.min(axis=0) + place) / side
    return Atlas(uv.astype(np.float32), model.ft)


def _charts(faces: Int[ndarray, "f 3"], count: int) -> Int[ndarray, "u"]:
    """Which connected chart each texture coordinate belongs to."""
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _scaled(
    model: HandModel, uv: Float[ndarray, "u 2"], faces: Int[ndarray, "f 3"], own: ndarray
) -> Float[ndarray, "k 2"]:
    """A chart's coordinates in metres, so that its area is that of its triangles on the template."""
    chosen = own[faces[:, 0]]
    flat, solid = uv[faces[chosen]].astype(np.float64), model.v_template[model.faces[chosen]].astype(np.float64)
    one, two = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    drawn = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).sum()
    real = np.linalg.norm(np.cross(solid[:, 1] - solid[:, 0], solid[:, 2] - solid[:, 0]), axis=1).sum()
    return uv[own].astype(np.float64) * (np.sqrt(real / drawn) if drawn > 0 else 0.0)


def _shelves(sizes: list[Float[ndarray, "2"]]) -> tuple[list[Float[ndarray, "2"]], float]:
    """Lower corners of rectangles in a square, the tallest first from left to right on shelves, and its side.

    Of a few widths of shelf the one is taken that needs the smallest square.
    """
    order = sorted(range(len(sizes)), key=lambda one: -sizes[one][1])
    whole = max(*(float(size.max()) for size in sizes), float(np.sqrt(sum(size.prod() for size in sizes))))
    tries = [_shelved(sizes, order, whole * (1.0 + 0.05 * more)) for more in range(21)]
    return min(tries, key=lambda one: one[1])


def _shelved(
    sizes: list[Float[ndarray, "2"]], order: list[int], width: float
) -> tuple[list[Float[ndarray, "2"]], float]:
    gap = _GAP * width
    places = [np.zeros(2) for _ in sizes]
    x, y, tall, wide = gap, gap, 0.0, 0.0
    for one in order:
        across, up = sizes[one]
        if x > gap and x + across + gap > width:
            x, y, tall = gap, y + tall + gap, 0.0
        places[one] = np.array([x, y])
        x, tall = x + across + gap, max(tall, up)
        wide = max(wide, x)
    return places, max(wide, y + tall + gap)


def _triangle_charts(count: int) -> Atlas:
    """Two triangles in each square of a grid, with room about them."""
    side = int(np.ceil(np.sqrt((count + 1) // 2)))
    square, second = np.divmod(np.arange(count), 2)
    row, column = np.divmod(square, side)
    first = np.array([[0.1, 0.1], [0.75, 0.1], [0.1, 0.75]])
    corners = np.where(second[:, None, None] == 1, 1.0 - first, first)
    uv = (corners + np.stack([column, row], axis=1)[:, None]) / side
    return Atlas(uv.reshape(-1, 2).astype(np.float32), np.arange(3 * count).reshape(-1, 3))
