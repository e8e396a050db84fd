import math

import torch

from palm_model.prior.irradiance import irradiance
from palm_model.prior.lat_long import LatLong
from palm_model.prior.light import SphericalGaussians
from palm_model.prior.map_layout import RIG, pixel_directions
from tests.palm_model.prior.sphere_grid import hemisphere, random_directions
from tests.palm_model.prior.test_light import coloured


def test_from_everywhere_alike_it_is_pi() -> None:
    normals = random_directions(50, 0, torch.float32)
    same = SphericalGaussians(torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 0.5, 0.2]]))
    expected = math.pi * torch.tensor([1.0, 0.5, 0.2]).expand(50, 3)
    assert torch.allclose(irradiance(same, normals), expected, rtol=1e-3)
    assert torch.allclose(irradiance(LatLong(torch.ones(20, 30, 3)), normals), torch.full((50, 3), math.pi), rtol=4e-3)


def test_of_lobes_it_is_the_dense_sum_over_the_hemisphere() -> None:
    light, normals = coloured(3), random_directions(6, 1, torch.float32)
    found = irradiance(light, normals)
    for normal, one in zip(normals, found, strict=True):
        grid = hemisphere(normal)
        cosine = grid.directions @ normal.double()
        exact = (light.radiance(grid.directions.float()).double() * (cosine * grid.solid)[:, None]).sum(dim=0)
        assert torch.allclose(one.double(), exact, rtol=0.01)


def test_of_one_bright_pixel_it_is_its_solid_angle_times_the_cosine() -> None:
    image = torch.zeros(40, 80, 3)
    image[10, 20] = torch.tensor([100.0, 10.0, 0.0])
    towards = pixel_directions(RIG, 40, 80, image)[10, 20]
    solid = (math.cos(math.pi * 10 / 40) - math.cos(math.pi * 11 / 40)) * 2.0 * math.pi / 80
    normals = random_directions(30, 2, torch.float32)
    expected = (normals @ towards).clamp(min=0.0)[:, None] * solid * image[10, 20]
    assert torch.allclose(irradiance(LatLong(image), normals), expected, atol=1e-4)
    assert irradiance(LatLong(image), normals[:0]).shape == (0, 3)
