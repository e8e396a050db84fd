"""Hands of real sizes: the tape, the people, and the shapes that fit them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_data.hand.model import load_hand_model
from palm_data.hand.standin.build import ASSETS
from palm_data.hand.standin.frame import HandPoints
from palm_data.hand.standin.measures import MEASURES, cut_section
from palm_data.hand.standin.people import choose_people, read_people
from palm_data.hand.standin.shapes import Traits, fit_hand, shape_hand
from schemas.errors import BadInputError, GeometryError
from tests.palm_data.hand.standin.sources import hand_mesh, hand_source, scaled, tape

PLAIN = Traits(lengths=np.zeros(5), girths=np.zeros(5), diameter=0.0, distance=0.0)
SIZES = st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=5).map(np.array)


def cylinder(radius: float, sides: int) -> tuple[np.ndarray, np.ndarray]:
    angles = np.arange(sides) * 2 * np.pi / sides
    circle = radius * np.column_stack([np.zeros(sides), np.cos(angles), np.sin(angles)])
    vertices = np.vstack([np.subtract(circle, [1, 0, 0]), np.add(circle, [1, 0, 0])])
    k, following = np.arange(sides), (np.arange(sides) + 1) % sides
    faces = np.vstack(
        [np.column_stack([k, following, k + sides]), np.column_stack([following, following + sides, k + sides])]
    )
    return vertices, faces


def test_a_section_of_a_cylinder_is_as_long_as_its_circumference() -> None:
    vertices, faces = cylinder(radius=0.03, sides=400)
    section = cut_section(vertices, faces, np.array([0.1, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    assert section.length(vertices) == pytest.approx(2 * np.pi * 0.03, rel=1e-3)
    np.testing.assert_allclose(section.loop(vertices)[:, 0], 0.1)


def test_a_section_takes_the_loop_around_the_point() -> None:
    vertices, faces = cylinder(radius=0.03, sides=50)
    both = np.vstack([vertices, vertices * [1, 2, 2] + [0, 1, 0]])
    section = cut_section(both, np.vstack([faces, faces + len(vertices)]), np.array([0.0, 1.0, 0.0]), np.eye(3)[0])
    assert section.length(both) == pytest.approx(2 * np.pi * 0.06, rel=1e-2)


def test_a_plane_that_misses_is_an_error() -> None:
    vertices, faces = cylinder(radius=0.03, sides=8)
    with pytest.raises(GeometryError):
        cut_section(vertices, faces, np.array([5.0, 0.0, 0.0]), np.eye(3)[0])


@given(factor=st.floats(0.5, 2.0))
def test_every_measure_grows_with_the_hand(factor: float) -> None:
    base = hand_source().base
    np.testing.assert_allclose(tape().measure(scaled(base, factor)), factor * tape().measure(base), rtol=1e-9)


def test_the_base_hand_measures_like_an_adults() -> None:
    for name, found, low, high in zip(
        MEASURES, tape().measure(hand_source().base), (160, 95, 70, 170, 110), (200, 120, 95, 220, 180), strict=True
    ):
        assert low < found < high, name


@pytest.mark.parametrize("sex", ["female", "male"])
def test_the_chosen_people_have_the_surveys_moments(sex: str) -> None:
    chosen = choose_people(ASSETS / "ansur2", 300)
    assert chosen.shape == (600, len(MEASURES))
    half = chosen[:300] if sex == "female" else chosen[300:]
    everyone = read_people(ASSETS / "ansur2" / f"ansur2_{sex}_hand_mm.csv")
    np.testing.assert_allclose(half.mean(axis=0), everyone.mean(axis=0), atol=1.0)
    np.testing.assert_allclose(half.std(axis=0), everyone.std(axis=0), rtol=0.12)
    np.testing.assert_allclose(np.corrcoef(half.T), np.corrcoef(everyone.T), atol=0.12)


def test_hand_lengths_are_the_published_ones() -> None:
    for sex, mean, deviation in (("female", 181.1, 10.1), ("male", 193.3, 9.9)):
        lengths = read_people(ASSETS / "ansur2" / f"ansur2_{sex}_hand_mm.csv")[:, 0]
        assert (round(lengths.mean(), 1), round(lengths.std(ddof=1), 1)) == (mean, deviation)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", ",".join(MEASURES) + "\n1,2,x,4,5\n", ",".join(MEASURES) + "\n1,2\n"])
def test_a_damaged_survey_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "survey.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match="handlength"):
        read_people(path)


def test_a_fitted_hand_has_the_persons_sizes_whatever_its_traits() -> None:
    people = choose_people(ASSETS / "ansur2", 4)
    rng = np.random.default_rng(0)
    for person in people:
        traits = Traits(rng.normal(0, 0.03, 5), rng.normal(0, 0.03, 5), 0.1, -0.15)
        hand = fit_hand(hand_source(), hand_mesh(), tape(), person, traits)
        np.testing.assert_allclose(tape().measure(hand), person, atol=1e-3)
        np.testing.assert_allclose(hand.joints[0], 0, atol=1e-12)


def test_sizes_nobody_has_are_refused() -> None:
    with pytest.raises(GeometryError, match="stand-in"):
        fit_hand(hand_source(), hand_mesh(), tape(), np.array([187.0, 113.0, 83.0, 20.0, 165.0]), PLAIN)


def test_without_changes_the_hand_is_the_base_hand() -> None:
    hand = shape_hand(hand_source(), hand_mesh(), np.zeros(5), PLAIN)
    for part in ("vertices", "joints", "tips"):
        np.testing.assert_allclose(getattr(hand, part), getattr(hand_source().base, part), atol=1e-12)


@pytest.mark.parametrize("finger", range(5))
def test_a_longer_finger_leaves_the_others_alone(finger: int) -> None:
    base = hand_source().base
    longer = replace(PLAIN, lengths=0.1 * np.eye(5)[finger])
    hand = shape_hand(hand_source(), hand_mesh(), np.zeros(5), longer)

    def bone_lengths(points: HandPoints) -> np.ndarray:
        return np.linalg.norm(points.bone_ends() - points.joints[1:], axis=1).reshape(5, 3)

    expected = np.where(np.arange(5)[:, None] == finger, 1.1, 1.0) * bone_lengths(base)
    np.testing.assert_allclose(bone_lengths(hand), expected)
    elsewhere = hand_mesh().weights[:, 1 + 3 * finger : 4 + 3 * finger].sum(axis=1) == 0
    np.testing.assert_allclose(hand.vertices[elsewhere], base.vertices[elsewhere], atol=1e-12)


def test_a_thicker_finger_keeps_its_length() -> None:
    base = hand_source().base
    hand = shape_hand(hand_source(), hand_mesh(), np.zeros(5), replace(PLAIN, girths=0.2 * np.eye(5)[1]))
    np.testing.assert_allclose(hand.joints, base.joints, atol=1e-12)
    rows = np.flatnonzero(hand_mesh().weights[:, 6] > 0.99)
    spread = [np.linalg.norm(points.vertices[rows] - points.joints[6], axis=1).mean() for points in (base, hand)]
    assert spread[1] > 1.01 * spread[0]


@settings(max_examples=10, deadline=None)
@given(sizes=SIZES)
def test_stretching_across_and_through_is_linear_about_the_wrist(sizes: np.ndarray) -> None:
    narrow = shape_hand(hand_source(), hand_mesh(), sizes * [1, 1, 1, 0, 0], PLAIN)
    wide = shape_hand(hand_source(), hand_mesh(), sizes, PLAIN)
    stretch = np.array([1.0, 1.0 + sizes[4], 1.0 + sizes[3]])
    np.testing.assert_allclose(wide.vertices, narrow.vertices * stretch, atol=1e-12)


def test_hands_of_the_shipped_shape_space_measure_like_people() -> None:
    model, people = load_hand_model(), choose_people(ASSETS / "ansur2", 300)
    betas = np.random.default_rng(0).normal(size=(1500, 10))
    found = []
    for coefficients in betas:
        vertices = (model.v_template + model.shapedirs @ coefficients).astype(np.float64)
        joints = model.joint_regressor @ vertices
        found.append(tape().measure(HandPoints(vertices, joints, vertices[list(model.tip_vertex_ids)])))
    sizes = np.array(found)
    np.testing.assert_allclose(sizes.mean(axis=0), people.mean(axis=0), atol=1.5)
    np.testing.assert_allclose(sizes.std(axis=0), people.std(axis=0), rtol=0.08)
    np.testing.assert_allclose(np.corrcoef(sizes.T), np.corrcoef(people.T), atol=0.08)
