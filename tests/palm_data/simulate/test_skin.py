import numpy as np
import pytest

from palm_data.simulate.chart import texture_chart
from palm_data.simulate.skin_colour import WAVELENGTHS_NM, skin_albedo, skin_reflectance
from tests.palm_data.simulate.people import person, textures

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
NUMBERS = (1, 2, 3, 4)


def of(numbers: np.ndarray) -> np.ndarray:
    return numbers @ LUMINANCE


@pytest.mark.parametrize("number", NUMBERS)
def test_maps_are_in_range(number: int) -> None:
    maps = textures(number)
    assert maps.albedo.shape == (192, 192, 3)
    assert maps.roughness.shape == maps.specular.shape == (192, 192)
    for image, low, high in ((maps.albedo, 0.003, 0.96), (maps.roughness, 0.04, 0.91), (maps.specular, 0.04, 0.91)):
        assert image.dtype == np.float32
        assert image.min() >= low
        assert image.max() <= high
    assert maps.roughness.std() > 0.01
    assert maps.specular.std() > 0.01


def test_backs_of_hands_are_ordered_by_tone() -> None:
    back = texture_chart(192).image(1.0 - texture_chart(192).features.glabrous) > 0.99
    median = {person(n).row.skin_tone: np.median(of(textures(n).albedo[back])) for n in NUMBERS}
    assert median["dark"] < median["tan"] < median["medium"] < median["light"]
    assert median["dark"] < 0.16
    assert median["light"] > 0.28


@pytest.mark.parametrize("number", NUMBERS)
def test_palms_are_lighter_and_the_difference_grows_with_melanin(number: int) -> None:
    chart = texture_chart(192)
    palm = chart.image(chart.features.glabrous) > 0.99
    back = chart.image(1.0 - chart.features.glabrous) > 0.99
    ratio = np.median(of(textures(number).albedo[palm])) / np.median(of(textures(number).albedo[back]))
    assert ratio > 0.97
    if person(number).row.skin_tone == "dark":
        assert ratio > 2.0


def test_nails_are_found_on_the_backs_of_five_finger_ends() -> None:
    places = texture_chart(192).features
    nail = places.nail > 0.5
    assert set(np.unique(places.finger[nail])) == {0, 1, 2, 3, 4}
    assert places.along[nail].min() > 2.2
    assert (places.palmar_side[nail] < 0.2).mean() > 0.95
    assert places.glabrous[nail].max() < 0.5


def test_skin_is_redder_than_it_is_blue() -> None:
    for number in NUMBERS:
        albedo = textures(number).albedo.reshape(-1, 3)
        assert (albedo[:, 0] > albedo[:, 2]).mean() > 0.999


def test_the_same_person_has_the_same_skin_twice() -> None:
    again = person(2).textures(192)
    np.testing.assert_array_equal(again.albedo, textures(2).albedo)


def test_more_melanin_is_darker_and_more_blood_is_redder() -> None:
    melanin = np.geomspace(0.01, 0.4, 12)
    dark = of(skin_albedo(melanin, np.full(12, 0.02)))
    assert (np.diff(dark) < 0).all()
    flushed = skin_albedo(np.full(12, 0.03), np.geomspace(0.005, 0.1, 12))
    assert (np.diff(flushed[:, 0] / flushed[:, 1]) > 0).all()


def test_reflectance_is_physical_and_shows_haemoglobin() -> None:
    waves = np.array(WAVELENGTHS_NM)
    spectrum = skin_reflectance(np.array(0.03), np.array(0.03), oxygenation=0.9)
    assert ((spectrum > 0) & (spectrum < 1)).all()
    # The W of oxygenated blood: 540 and 580 nm absorb more than 560 nm between them.
    at = {wave: spectrum[np.flatnonzero(waves == wave)[0]] for wave in (540, 560, 580, 650)}
    assert at[560] > at[540]
    assert at[560] > at[580]
    assert at[650] > at[560]


def test_texels_outside_the_charts_continue_the_nearest() -> None:
    chart = texture_chart(192)
    rows = np.arange(chart.covered.sum(), dtype=float)
    image = chart.image(rows)
    np.testing.assert_array_equal(image[chart.covered], rows.astype(np.float32))
