"""An environment given as a picture (EXR): looked up between its pixels, sampled by its brightness."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from palm_model.prior.light import EnvironmentLight
from palm_model.prior.map_layout import RIG, MapLayout, angles, converted, look_up, pixel_directions
from schemas.errors import BadInputError

_MAX_PIXELS = 1 << 27
_MAX_BYTES = 1 << 31
_TENT = (0.125, 0.75, 0.125)
"""What a pixel and its neighbours weigh in the integral of the bilinear picture over the pixel."""


class LatLong(EnvironmentLight):
    """A latitude–longitude picture in the rig's layout (see `map_layout.RIG`); it is not learned.

    Radiance is bilinear between the centres of pixels. Directions are drawn by the mean brightness of each pixel's area
    times its solid angle, and evenly by solid angle inside it: the density is exact, and positive wherever there is light.
    """

    image: Tensor
    """(height, width, 3), linear radiance."""
    _rows: Tensor
    _columns: Tensor
    _density: Tensor

    def __init__(self, image: Float[Tensor, "height width 3"]) -> None:
        """A light of the picture given.

        Raises:
            BadInputError: if the picture is not (height, width, 3), or holds what is no radiance.
        """
        super().__init__()
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape) < 1:
            raise BadInputError("LatLong", field="image", expected="(height, width, 3)", found=tuple(image.shape))
        if not bool(torch.isfinite(image).all()) or bool((image < 0).any()):
            raise BadInputError("LatLong", field="image", expected="finite radiance, none below 0", found="others")
        image = image.detach().clone().float()
        rows, columns, density = _distribution(image)
        self.register_buffer("image", image)
        self.register_buffer("_rows", rows, persistent=False)
        self.register_buffer("_columns", columns, persistent=False)
        self.register_buffer("_density", density, persistent=False)

    @classmethod
    def of_picture(cls, image: Float[Tensor, "height width 3"], layout: MapLayout) -> "LatLong":
        """A light of a picture in any layout, resampled to ours."""
        return cls(image if layout == RIG else converted(image, layout, RIG))

    @classmethod
    def read(cls, path: Path, layout: MapLayout = RIG, scale: float = 1.0) -> "LatLong":
        """A light of an EXR file.

        Args:
            scale: what the file's radiance is multiplied by.

        Raises:
            BadInputError: if the file is not an RGB picture in OpenEXR with finite values.
        """
        return cls.of_picture(torch.from_numpy(read_exr(path)) * scale, layout)

    @classmethod
    def of_light(cls, light: EnvironmentLight, height: int) -> "LatLong":
        """A picture of another light, (height, 2 height), from the centres of its pixels."""
        like = next(iter([*light.parameters(), *light.buffers()]))
        with torch.no_grad():
            return cls(light.radiance(pixel_directions(RIG, height, 2 * height, like)))

    def radiance(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Linear RGB radiance from each direction."""
        return look_up(self.image, RIG, directions)

    def sample(self, uniform: Float[Tensor, "*n 2"]) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n"]]:
        """A row, a column in it, and a place in that pixel's area; what is left of each number serves again."""
        with torch.no_grad():
            height, width = self._density.shape
            number = uniform.to(self._rows.dtype)
            row = _place(self._rows, number[..., 0].contiguous())
            down = (number[..., 0] - self._rows[row]) / (self._rows[row + 1] - self._rows[row]).clamp(min=1e-300)
            # Each row's distribution lies one above the row before: one search serves all rows.
            ladder = self._columns.flatten()
            rung = _place(ladder, number[..., 1] + row)
            column = (rung - row * (width + 1)).clamp(0, width - 1)
            low, high = self._columns[row, column], self._columns[row, column + 1]
            across = ((number[..., 1] + row - low) / (high - low).clamp(min=1e-300)).clamp(0.0, 1.0)
            upper, lower = (torch.cos(math.pi * (row + end) / height) for end in (0, 1))
            cosine = upper + (lower - upper) * down.clamp(0.0, 1.0)
            azimuth = 2.0 * math.pi * (column + across) / width
            sine = torch.sqrt((1.0 - cosine * cosine).clamp(min=0.0))
            directions = torch.stack([sine * torch.cos(azimuth), sine * torch.sin(azimuth), cosine], dim=-1)
            return directions.to(uniform.dtype), self._density[row, column].to(uniform.dtype)

    def pdf(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        """Density by solid angle with which `sample` draws a direction."""
        with torch.no_grad():
            height, width = self._density.shape
            down, around = angles(RIG, directions)
            row = (down / math.pi * height).long().clamp(0, height - 1)
            column = (around / (2.0 * math.pi) * width).long().clamp(0, width - 1)
            return self._density[row, column].to(directions.dtype)


def read_exr(path: Path) -> Float[ndarray, "height width 3"]:
    """The RGB channels of an OpenEXR file; an alpha channel is left out, and values below 0 count as 0.

    Raises:
        BadInputError: if the file is not an RGB picture in OpenEXR, too large, or holds values that are not finite.
    """
    import OpenEXR

    found: object = "no such file"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInputError(path, field="size", expected=f"at most {_MAX_BYTES} bytes", found=path.stat().st_size)
        window = OpenEXR.File(str(path), header_only=True).header()["dataWindow"]
        sides = np.asarray(window[1], dtype=np.int64) - np.asarray(window[0], dtype=np.int64) + 1
        if (sides < 1).any() or int(sides.prod()) > _MAX_PIXELS:
            raise BadInputError(path, field="dataWindow", expected=f"1 to {_MAX_PIXELS} pixels", found=sides.tolist())
        channels = OpenEXR.File(str(path)).channels()
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(path, field="file", expected="a picture in OpenEXR", found=error) from None
    for name in ("RGB", "RGBA"):
        if name in channels:
            return _radiance(path, channels[name].pixels[..., :3])
    if {"R", "G", "B"} <= set(channels):
        return _radiance(path, np.stack([channels[name].pixels for name in "RGB"], axis=-1))
    found = ", ".join(sorted(channels)) or "none"
    raise BadInputError(path, field="channels", expected="R, G and B", found=found)


def write_exr(path: Path, image: Float[Tensor, "height width 3"]) -> None:
    """Write linear radiance as OpenEXR, 32 bits, losslessly compressed."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = np.ascontiguousarray(image.detach().cpu().numpy(), np.float32)
    OpenEXR.File(header, {"RGB": pixels}).write(str(path))


def _radiance(path: Path, pixels: ndarray) -> Float[ndarray, "height width 3"]:
    image = np.ascontiguousarray(pixels, np.float32)
    if not np.isfinite(image).all():
        count = int((~np.isfinite(image)).any(axis=-1).sum())
        raise BadInputError(path, field="RGB", expected="finite radiance", found=f"{count} pixels that are not")
    return np.maximum(image, 0.0)


def _distribution(image: Float[Tensor, "height width 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Cumulative shares of rows (height + 1), and of each row's columns (height, width + 1), plus the row's number; the
    density by solid angle (height, width). In double precision: maps have more pixels than float32 has steps.
    """
    height, width = image.shape[:2]
    bright = image.double().mean(dim=-1)
    side, middle, _ = _TENT
    bright = middle * bright + side * (bright.roll(1, dims=1) + bright.roll(-1, dims=1))
    padded = torch.cat([bright[:1], bright, bright[-1:]])
    bright = middle * bright + side * (padded[:-2] + padded[2:])
    borders = torch.cos(torch.linspace(0.0, math.pi, height + 1, dtype=torch.float64, device=image.device))
    solid = ((borders[:-1] - borders[1:]) * (2.0 * math.pi / width))[:, None].expand(height, width)
    mass = bright * solid if bool((bright > 0).any()) else solid
    mass = mass / mass.sum()
    by_row = mass.sum(dim=1)
    even = torch.full_like(mass, 1.0 / width)
    inside = torch.where(by_row[:, None] > 0, mass / by_row[:, None].clamp(min=1e-300), even)
    number = torch.arange(height, dtype=torch.float64, device=image.device)[:, None]
    return _cumulative(by_row[None])[0], number + _cumulative(inside), mass / solid


def _cumulative(shares: Float[Tensor, "rows n"]) -> Float[Tensor, "rows n_plus_one"]:
    total = torch.cat([shares.new_zeros(len(shares), 1), shares.cumsum(dim=1)], dim=1)
    return total / total[:, -1:]


def _place(borders: Float[Tensor, "borders"], number: Float[Tensor, "*n"]) -> Tensor:
    """The interval that each number lies in."""
    return (torch.searchsorted(borders, number, right=True) - 1).clamp(0, len(borders) - 2)
