import numpy as np
import pytest

from palm_data.evaluate.light import irradiance, irradiance_correlation, map_directions, spiral


def sky(height: int = 32) -> np.ndarray:
    """Bright from +x, a little from above."""
    directions, _ = map_directions(height, 2 * height)
    bright = np.exp(6.0 * (directions @ [1.0, 0.0, 0.0] - 1.0)) + 0.2 * np.maximum(directions[:, 2], 0.0)
    return np.repeat(bright[:, None], 3, axis=1).reshape(height, 2 * height, 3)


def test_solid_angles_are_those_of_the_sphere_and_directions_turn_as_the_truth_says() -> None:
    directions, solid = map_directions(16, 32)
    assert solid.sum() == pytest.approx(4.0 * np.pi)
    grid = directions.reshape(16, 32, 3)
    assert grid[0, :, 2].min() > 0.99  # row 0 is the zenith
    assert grid[8, 0] @ [1.0, 0.0, 0.0] > 0.97  # columns begin at +x
    assert grid[8, 8] @ [0.0, 1.0, 0.0] > 0.97  # and turn towards +y


def test_even_light_gives_pi_times_its_radiance() -> None:
    directions, solid = map_directions(64, 128)
    found = irradiance(np.ones((len(directions), 3)), directions, solid, spiral(20))
    assert np.allclose(found, np.pi, rtol=2e-3)


def test_a_sun_lights_with_the_cosine() -> None:
    directions, normals = np.array([[0.0, 0.0, 1.0]]), spiral(50)
    found = irradiance(np.ones((1, 3)), directions, np.ones(1), normals)
    assert np.allclose(found[:, 0], np.maximum(normals[:, 2], 0.0))


def test_the_true_light_correlates_whatever_its_scale_and_a_wrong_one_does_not() -> None:
    true = sky()

    def light(directions: np.ndarray) -> np.ndarray:
        bright = np.exp(6.0 * (directions @ [1.0, 0.0, 0.0] - 1.0)) + 0.2 * np.maximum(directions[:, 2], 0.0)
        return 7.0 * np.repeat(bright[:, None], 3, axis=1)

    assert irradiance_correlation(light, true, 32) > 0.999
    assert irradiance_correlation(lambda directions: light(directions * [-1.0, 1.0, 1.0]), true, 32) < 0.0
    # A quarter turn about the vertical is no small thing either: azimuth counts.
    assert irradiance_correlation(lambda directions: light(directions[:, [1, 0, 2]]), true, 32) < 0.6
    assert irradiance_correlation(np.ones_like, true, 32) == 0.0
