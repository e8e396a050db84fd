import numpy as np

from palm_data.colour import linear_from_srgb
from palm_data.simulate.sensor import FULL_WELL, READ_NOISE, colour_image, exposed, mono_image, noise_free


def test_noise_is_that_of_photons_and_of_reading() -> None:
    rng = np.random.default_rng(0)
    for level in (0.01, 0.2, 0.6):
        values = exposed(np.full(200_000, level), rng)
        expected = np.sqrt(level * FULL_WELL + READ_NOISE**2) / FULL_WELL
        assert abs(values.mean() - level) < 4 * expected / np.sqrt(len(values))
        assert abs(values.std() / expected - 1.0) < 0.01


def test_a_full_well_takes_no_more() -> None:
    values = exposed(np.full(1000, 3.0), np.random.default_rng(0))
    assert abs(values.mean() - 1.0) < 0.001
    assert (colour_image(np.full((4, 4, 3), 50.0), np.random.default_rng(0)) >= 254).all()


def test_the_mean_image_is_the_noise_free_one() -> None:
    radiance = np.full((64, 64, 3), [0.1, 0.3, 0.5])
    image = colour_image(radiance, np.random.default_rng(1))
    assert image.dtype == np.uint8
    decoded = linear_from_srgb(image / 255.0).mean(axis=(0, 1))
    assert np.allclose(decoded, linear_from_srgb(noise_free(radiance))[0, 0], rtol=0.01)


def test_twice_the_exposure_is_twice_the_light() -> None:
    radiance = np.full((64, 64, 3), 0.1)
    one, two = (
        linear_from_srgb(colour_image(radiance, np.random.default_rng(2), exposure) / 255.0).mean()
        for exposure in (1000, 2000)
    )
    assert abs(two / one - 2.0) < 0.02


def test_mono_cameras_deliver_one_channel() -> None:
    image = mono_image(np.full((8, 9, 3), 0.2, np.float32), np.random.default_rng(3))
    assert image.shape == (8, 9)
    assert image.dtype == np.uint8
