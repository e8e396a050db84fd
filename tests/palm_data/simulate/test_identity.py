import numpy as np
import pytest

from palm_data.simulate.identity import BEYOND_REACH_M, lattice_field, smooth_field
from palm_data.simulate.reach import beyond_reach
from palm_data.simulate.subject import make_subject
from palm_data.simulate.template import capture_template
from tests.palm_data.simulate.people import SEED, person


@pytest.mark.parametrize("number", [1, 2, 3, 4, 17])
def test_the_surface_departs_by_two_to_two_and_a_half_millimetres(number: int) -> None:
    identity = person(number).identity
    size = np.linalg.norm(identity.displacement[: capture_template().hand_vertex_count], axis=1) * 1e3
    assert 2.0 <= size.mean() <= 2.5
    assert size.max() < 10.0


@pytest.mark.parametrize("number", [1, 2, 3, 4, 17])
def test_every_joint_moves_two_to_three_millimetres(number: int) -> None:
    shift = np.linalg.norm(person(number).identity.joint_shift, axis=1) * 1e3
    assert shift.shape == (16,)
    assert shift.min() >= 2.0
    assert shift.max() <= 3.0


def test_neighbours_move_together() -> None:
    template = capture_template()
    displacement = person(1).identity.displacement
    edges = np.unique(np.sort(template.base_faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    apart = np.linalg.norm(np.diff(template.base_vertices[edges], axis=1)[:, 0], axis=1)
    stretch = np.linalg.norm(np.diff(displacement[edges], axis=1)[:, 0], axis=1)
    near = apart > 1e-4
    assert np.median(stretch[near] / apart[near]) < 0.25


def test_weights_are_perturbed_but_stay_weights() -> None:
    template, weights = capture_template(), person(1).identity.weights
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-9)
    assert weights.min() >= 0
    assert 0.005 < np.abs(weights - template.base_weights).sum(axis=1).mean() < 0.3


def test_people_differ_and_the_same_person_is_the_same() -> None:
    again = make_subject(SEED, 1)
    np.testing.assert_array_equal(again.identity.displacement, person(1).identity.displacement)
    np.testing.assert_array_equal(again.betas, person(1).betas)
    assert not np.allclose(person(2).identity.displacement, again.identity.displacement)


def test_hands_have_the_length_that_goes_with_the_body() -> None:
    template = capture_template()
    model = template.model
    for number in (1, 2, 3, 4):
        subject = person(number)
        shaped = model.v_template + model.shapedirs @ subject.betas
        reach = template.anatomy.distal @ (shaped[model.tip_vertex_ids[2]] - model.joint_regressor[0] @ shaped)
        assert reach * 1e3 == pytest.approx(subject.person.hand_length_mm, abs=8.0)


def test_fields_have_unit_variance() -> None:
    points = np.random.default_rng(0).uniform(0, 0.2, (20_000, 3))
    assert np.std(lattice_field(points, np.random.default_rng(1), scale_mm=5.0)) == pytest.approx(1.0, abs=0.1)
    values = [smooth_field(points[:50], np.random.default_rng(seed), scale_mm=30.0, channels=3) for seed in range(200)]
    assert np.std(values) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_part_of_the_departure_is_beyond_the_models_reach(number: int) -> None:
    hand = capture_template().hand_vertex_count
    left = np.linalg.norm(beyond_reach(person(number).identity.displacement[:hand]), axis=1)
    assert BEYOND_REACH_M[0] - 2e-5 <= left.mean() <= BEYOND_REACH_M[1] + 2e-5


def test_what_the_model_can_do_leaves_nothing() -> None:
    model = capture_template().model
    shaped = model.shapedirs.astype(np.float64) @ np.linspace(-1, 1, 10) + [0.01, -0.02, 0.03]
    assert np.abs(beyond_reach(shaped)).max() < 1e-5
