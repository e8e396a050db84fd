import math
from pathlib import Path

import numpy as np
import pytest
import torch

from palm_model.prior.directions import random_numbers
from palm_model.prior.lat_long import LatLong, read_exr, write_exr
from palm_model.prior.map_layout import LAYOUTS, MITSUBA, OFFICIAL, RIG, MapLayout, converted, look_up, pixel_directions
from schemas.errors import BadInputError
from tests.palm_model.prior.sphere_grid import random_directions, sphere, within_interval
from tests.palm_model.prior.test_light import coloured, seeded

ZENITH = torch.tensor([0.0, 0.0, 1.0])


def spiky(height: int = 12, width: int = 20) -> torch.Tensor:
    """Mostly dark, a few bright pixels, one of them at the seam and one at a pole."""
    image = 0.02 * torch.rand(height, width, 3, generator=seeded(3)) ** 3
    image[4, 16], image[9, 0], image[0, 3] = torch.tensor([[50.0, 20.0, 9.0], [3.0, 8.0, 30.0], [9.0, 9.0, 9.0]])
    image[6:8, 12:16] = 0.0
    return image


def test_the_density_is_exact_and_samples_follow_it() -> None:
    light = LatLong(spiky())
    directions, pdf = light.sample(random_numbers(1, 60_000, seeded())[0])
    assert torch.allclose(directions.norm(dim=1), torch.ones(60_000), atol=1e-5)
    assert (torch.isclose(pdf, light.pdf(directions), rtol=1e-5)).float().mean() > 0.9995  # but for pixels' borders
    borders = torch.cos(torch.linspace(0.0, math.pi, 13, dtype=torch.float64))
    solid = (borders[:-1] - borders[1:])[:, None].expand(12, 20) * (2.0 * math.pi / 20)
    mass = light.pdf(pixel_directions(RIG, 12, 20, light.image)).double() * solid
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-6)
    row = (torch.acos(directions[:, 2].double()) / math.pi * 12).long().clamp(0, 11)
    column = (torch.atan2(directions[:, 1], directions[:, 0]) % (2.0 * math.pi) / (2.0 * math.pi) * 20).long()
    counts = torch.bincount(row * 20 + column.clamp(0, 19), minlength=240).double()
    expected = mass.flatten() * 60_000
    often = expected > 20
    assert float(((counts - expected)[often] ** 2 / expected[often]).mean()) < 1.6


def test_light_drawn_by_brightness_has_the_pictures_energy() -> None:
    light = LatLong(spiky())
    grid = sphere(rows=600, columns=400)
    energy = (light(grid.directions.float()).double() * grid.solid[:, None]).sum(dim=0)
    directions, pdf = light.sample(random_numbers(1, 60_000, seeded(1))[0])
    drawn = (light(directions) / pdf[:, None]).double()
    within_interval(drawn, energy)
    even = 4.0 * math.pi * light(random_directions(60_000, 5, torch.float32)).double()
    assert drawn.mean(dim=1).std() < 0.2 * even.mean(dim=1).std()


def test_wherever_there_is_light_a_sample_can_fall() -> None:
    image = torch.zeros(6, 8, 3)
    image[2, 0] = 1.0
    light = LatLong(image)
    directions = random_directions(5000, 7, torch.float32)
    assert (light.pdf(directions)[light(directions).amax(dim=1) > 0] > 0).all()


def test_a_black_picture_is_sampled_evenly() -> None:
    light = LatLong(torch.zeros(4, 8, 3))
    directions, pdf = light.sample(random_numbers(1, 4000, seeded())[0])
    assert torch.allclose(pdf, torch.full_like(pdf, 1.0 / (4.0 * math.pi)))
    within_interval(directions.double(), torch.zeros(3, dtype=torch.float64))


def test_a_picture_of_another_light_looks_like_it() -> None:
    light = coloured(4, lobes=4)
    directions = random_directions(400, 1, torch.float32)
    assert torch.allclose(LatLong.of_light(light, 128)(directions), light(directions), rtol=0.02, atol=0.01)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_pixels_are_found_again_where_they_look(layout: MapLayout) -> None:
    image = torch.rand(6, 10, 3, generator=seeded(2), dtype=torch.float64)
    looks = pixel_directions(layout, 6, 10, image)
    assert torch.allclose(looks.norm(dim=-1), torch.ones(6, 10, dtype=torch.float64))
    inside = slice(1, -1) if layout.rows_at_poles else slice(None)  # all columns meet at a pole
    assert torch.allclose(look_up(image, layout, looks)[inside], image[inside], atol=1e-9)


@pytest.mark.parametrize("layout", [MITSUBA, OFFICIAL, RIG.turned(0.7), MITSUBA.turned(math.radians(100.0))])
def test_a_smooth_picture_survives_the_way_to_a_layout_and_back(layout: MapLayout) -> None:
    smooth = LatLong.of_light(coloured(4, lobes=4), 64).image
    back = converted(converted(smooth, RIG, layout), layout, RIG)
    assert (back - smooth).abs().mean() < 0.01 * smooth.mean()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_the_sky_of_every_layout_is_above_the_rig(layout: MapLayout) -> None:
    """Row 0 of an ordinary picture is the sky; the published code puts it at −y, which is up only beside OpenCV's axes."""
    picture = torch.zeros(8, 16, 3)
    picture[:3] = 1.0
    light = LatLong.of_picture(picture, layout)
    assert light(ZENITH).min() > 0.99
    assert light(-ZENITH).max() < 0.01


def test_the_rigs_columns_go_from_x_towards_y_and_the_official_ones_as_published() -> None:
    picture = torch.arange(16.0)[None, :, None].expand(8, 16, 3).contiguous()
    towards = torch.tensor([math.cos(0.3), math.sin(0.3), 0.0])
    assert look_up(picture, RIG, towards)[0] == pytest.approx(0.3 / (2 * math.pi) * 16 - 0.5, abs=1e-4)
    # u = atan2(x, z) / 2π + ½ and v = asin(y) / π + ½ in a world with y down, which lies on ours as (x, −z, y).
    x, y, z = 0.36, -0.48, 0.8
    seen = look_up(picture, OFFICIAL, torch.tensor([x, z, -y]))[0]
    assert seen == pytest.approx((math.atan2(x, z) / (2 * math.pi) + 0.5) * 16 - 0.5, abs=1e-4)
    rows = torch.arange(8.0)[:, None, None].expand(8, 16, 3).contiguous()
    seen = look_up(rows, OFFICIAL, torch.tensor([x, z, -y]))[0]
    assert seen == pytest.approx((math.asin(y) / math.pi + 0.5) * 8 - 0.5, abs=1e-4)


def test_a_picture_survives_its_file(tmp_path: Path) -> None:
    image = 100.0 * torch.rand(6, 12, 3, generator=seeded(9))
    write_exr(tmp_path / "light.exr", image)
    assert np.array_equal(read_exr(tmp_path / "light.exr"), image.numpy())
    assert torch.allclose(LatLong.read(tmp_path / "light.exr", scale=0.5).image, image * 0.5)


def test_what_is_no_picture_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "light.exr"
    with pytest.raises(BadInputError, match=r"light\.exr: file: expected a picture in OpenEXR"):
        read_exr(path)
    write_exr(path, torch.rand(6, 12, 3))
    whole = path.read_bytes()
    for content in (b"", b"P6 1 1", whole[: len(whole) // 2], whole[:40]):
        path.write_bytes(content)
        with pytest.raises(BadInputError, match="expected a picture in OpenEXR"):
            read_exr(path)
    write_exr(path, torch.full((2, 4, 3), math.inf))
    with pytest.raises(BadInputError, match="expected finite radiance, found 8 pixels"):
        read_exr(path)


@pytest.mark.parametrize("image", [torch.ones(4, 8), torch.ones(4, 8, 4), -torch.ones(4, 8, 3), torch.ones(0, 8, 3)])
def test_what_is_no_radiance_is_refused(image: torch.Tensor) -> None:
    with pytest.raises(BadInputError, match="LatLong: image"):
        LatLong(image)
