"""Environments from files: EXR and HDR show the same sky, and what is no sky is refused."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from palm_model.avatar.environment import NAMED, read_environment
from palm_model.prior.lat_long import write_exr
from schemas.errors import BadInputError, SettingsError


def picture() -> torch.Tensor:
    """Bright where columns begin: +x in the rig's layout."""
    image = torch.full((8, 16, 3), 0.25)
    image[3:5, 0] = torch.tensor([8.0, 4.0, 2.0])
    return image


def towards(degrees: float) -> torch.Tensor:
    azimuth = math.radians(degrees)
    return torch.tensor([[math.cos(azimuth), math.sin(azimuth), 0.0]])


@pytest.mark.parametrize("name", ["sky.exr", "sky.hdr"])
def test_the_chosen_map_is_the_light(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("exr"):
        write_exr(path, picture())
    else:
        cv2.imwrite(str(path), picture().numpy()[..., ::-1])
    light = read_environment(path, exposure=2.0)
    half_pixel = 360.0 / 16 / 2
    found = light.radiance(towards(half_pixel))[0]
    torch.testing.assert_close(found, torch.tensor([16.0, 8.0, 4.0]), rtol=0.01, atol=0.01)
    turned = read_environment(path, turn_deg=90.0)
    torch.testing.assert_close(turned.radiance(towards(half_pixel + 90.0))[0], found / 2.0, rtol=0.01, atol=0.01)


def test_what_is_no_sky_is_refused(tmp_path: Path) -> None:
    square = tmp_path / "square.exr"
    write_exr(square, torch.ones(8, 8, 3))
    bad = tmp_path / "bad.hdr"
    bad.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 99999999 +X 99999999\n")
    cut = tmp_path / "cut.hdr"
    cut.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 16\nshort")
    for path, told in (
        (square, "size: expected twice as wide as high"),
        (bad, "header: expected Radiance RGBE"),
        (cut, r"cut\.hdr: pixels"),
        (tmp_path / "sky.jpg", "name: expected a picture that ends in"),
        (tmp_path / "none.exr", r"none\.exr"),
    ):
        with pytest.raises(BadInputError, match=told):
            read_environment(path)
    write_exr(tmp_path / "sky.exr", picture())
    with pytest.raises(SettingsError, match="layout: expected one of mitsuba, official, rig"):
        read_environment(tmp_path / "sky.exr", layout="cube")
    with pytest.raises(SettingsError, match="exposure"):
        read_environment(tmp_path / "sky.exr", exposure=0.0)


def test_the_two_environments_for_pictures_differ() -> None:
    up, side = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.3]]) / math.sqrt(1.09)
    window, sky = (NAMED[name]() for name in ("evening_window", "northern_sky"))
    assert float(window.radiance(side).mean()) > 5 * float(window.radiance(up).mean())
    assert float(sky.radiance(up).mean()) > 2 * float(sky.radiance(side).mean())
    warm, cool = window.radiance(side)[0], sky.radiance(up)[0]
    assert float(warm[0]) > float(warm[2])
    assert float(cool[0]) < float(cool[2])
    assert np.isfinite(window.image.numpy()).all()
