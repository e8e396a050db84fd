"""How pictures of an environment are laid out: which direction each pixel of a latitude–longitude image looks in.

In every layout the row goes from one pole to the other and the column once around. They differ in the axes of their
world and, for Mitsuba, in where rows lie: pixels are areas everywhere else, with their centres at (row + ½) / height.
Conversions turn the layout's world into the rig's (+z up).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

_UNTURNED: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
Y_UP_TO_RIG: Matrix = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
"""A world with +y up laid on the rig's by a quarter turn about x: +y becomes +z, +z becomes −y."""
Y_DOWN_TO_RIG: Matrix = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
"""A world as OpenCV's cameras see it (+y down, +z forward) laid on the rig's: −y becomes +z, +z becomes +y."""


@dataclass(frozen=True)
class MapLayout:
    """Where the pixels of a latitude–longitude image look; axes are in the layout's own world."""

    name: str
    top: Vector
    """What row 0 looks at."""
    start: Vector
    """What the left border of the image looks at, on the equator."""
    towards: Vector
    """What a quarter of the width looks at, on the equator."""
    to_rig: Matrix
    """Rotation from the layout's world to the rig's."""
    rows_at_poles: bool = False
    """The first and last rows lie at the poles, and not half a row from them."""

    def turned(self, azimuth_rad: float) -> "MapLayout":
        """The same with its world turned about the rig's +z, from +x towards +y."""
        cosine, sine = math.cos(azimuth_rad), math.sin(azimuth_rad)
        (x, y, z) = self.to_rig
        first: Vector = tuple(cosine * a - sine * b for a, b in zip(x, y, strict=True))  # type: ignore[assignment]
        second: Vector = tuple(sine * a + cosine * b for a, b in zip(x, y, strict=True))  # type: ignore[assignment]
        return MapLayout(self.name, self.top, self.start, self.towards, (first, second, z), self.rows_at_poles)


RIG = MapLayout("rig", top=(0, 0, 1), start=(1, 0, 0), towards=(0, 1, 0), to_rig=_UNTURNED)
"""Ours, and the truth's: row 0 is the zenith, columns go from +x towards +y."""
MITSUBA = MapLayout(
    "mitsuba", top=(0, 1, 0), start=(0, 0, -1), towards=(1, 0, 0), to_rig=Y_UP_TO_RIG, rows_at_poles=True
)
"""What Mitsuba's `envmap` makes of an image: +y up, and its first and last rows at the poles."""
OFFICIAL = MapLayout("official", top=(0, -1, 0), start=(0, 0, -1), towards=(-1, 0, 0), to_rig=Y_DOWN_TO_RIG)
"""The published code's: longitude atan2(x, z), latitude asin y from the first row's −90°, so that −y is up."""
LAYOUTS = {layout.name: layout for layout in (RIG, MITSUBA, OFFICIAL)}


def pixel_directions(layout: MapLayout, height: int, width: int, like: Tensor) -> Float[Tensor, "height width 3"]:
    """The rig's direction that each pixel of an image in a layout looks in; `like` gives type and device."""
    row = torch.arange(height, dtype=like.dtype, device=like.device)
    column = torch.arange(width, dtype=like.dtype, device=like.device)
    share = row / (height - 1) if layout.rows_at_poles else (row + 0.5) / height
    theta = (math.pi * share)[:, None].expand(height, width)
    phi = (2.0 * math.pi * (column + 0.5) / width).expand(height, width)
    sine = torch.sin(theta)
    local = torch.stack([sine * torch.cos(phi), sine * torch.sin(phi), torch.cos(theta)], dim=-1)
    return local @ _axes(layout, like)


def look_up(
    image: Float[Tensor, "height width 3"], layout: MapLayout, directions: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n 3"]:
    """What an image in a layout shows in the rig's directions: bilinear, closed around, constant beyond the poles' rows."""
    height, width = image.shape[:2]
    down, around = angles(layout, directions)
    row = down / math.pi * (height - 1) if layout.rows_at_poles else down / math.pi * height - 0.5
    row = row.clamp(0.0, height - 1.0)
    column = around / (2.0 * math.pi) * width - 0.5
    left, upper = torch.floor(column), torch.floor(row)
    right_share, lower_share = (column - left)[..., None], (row - upper)[..., None]
    first, second = left.long() % width, (left.long() + 1) % width
    upper_row = upper.long()
    lower_row = (upper_row + 1).clamp(max=height - 1)
    above = torch.lerp(image[upper_row, first], image[upper_row, second], right_share)
    below = torch.lerp(image[lower_row, first], image[lower_row, second], right_share)
    return torch.lerp(above, below, lower_share)


def angles(layout: MapLayout, directions: Float[Tensor, "*n 3"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Angle from the layout's top, 0 to π, and around it from its start, 0 to 2π, of the rig's directions."""
    local = directions @ _axes(layout, directions).T
    down = torch.atan2(torch.linalg.vector_norm(local[..., :2], dim=-1), local[..., 2])
    return down, torch.atan2(local[..., 1], local[..., 0]) % (2.0 * math.pi)


def converted(
    image: Float[Tensor, "height width 3"],
    source: MapLayout,
    target: MapLayout,
    size: tuple[int, int] | None = None,
) -> Float[Tensor, "rows columns 3"]:
    """An image in one layout, resampled to another.

    Args:
        size: height and width of the result; those of the image if None.
    """
    height, width = size or image.shape[:2]
    return look_up(image, source, pixel_directions(target, height, width, image))


def _axes(layout: MapLayout, like: Tensor) -> Float[Tensor, "3 3"]:
    """The layout's start, towards and top as rows, in the rig's world."""
    axes = torch.tensor([layout.start, layout.towards, layout.top], dtype=like.dtype, device=like.device)
    return axes @ torch.tensor(layout.to_rig, dtype=like.dtype, device=like.device).T
