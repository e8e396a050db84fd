from dataclasses import replace

import numpy as np
import pytest
import torch

from palm_data.hand.layer import HandLayer
from palm_data.simulate.gestures import GESTURES
from palm_data.simulate.oracle import far_from_rim, fit_oracle
from palm_data.simulate.template import capture_template, vertex_normals
from tests.palm_data.simulate.people import capture, person


def test_the_fit_finds_a_surface_that_the_model_can_make() -> None:
    template, subject, held = capture_template(), person(1), capture(1, "flat")
    layer = HandLayer(template.model, dtype=torch.float64)
    betas, orient = np.linspace(-0.8, 0.8, 10), np.array([0.3, -1.2, 0.4])
    truth = layer(
        *(torch.from_numpy(value[None]) for value in (orient, held.hand_pose + 0.05, betas, np.array([0.1, 0.0, -0.1])))
    )
    surface = truth.vertices[0].numpy()
    faces = np.asarray(template.model.faces)
    made = replace(held, vertices=surface, faces=faces, normals=vertex_normals(surface, faces))
    (fit,) = fit_oracle(subject, [made])
    assert fit.model_to_surface_mm_mean < 0.01
    np.testing.assert_allclose(fit.betas, betas, atol=0.05)


def test_the_rim_is_not_measured() -> None:
    template = capture_template()
    measured = far_from_rim()
    assert not measured[template.model.rim_vertices()].any()
    assert 0.85 < measured.mean() < 1.0


@pytest.mark.slow
def test_the_best_fit_of_the_model_leaves_six_to_ten_tenths_of_a_millimetre() -> None:
    distances = []
    for number in (1, 3):
        captures = [capture(number, spec.name) for spec in GESTURES[:3]]
        fits = fit_oracle(person(number), captures)
        np.testing.assert_array_equal(fits[0].betas, fits[1].betas)
        distances += [fit.model_to_surface_mm_mean for fit in fits]
    assert 0.6 <= np.mean(distances) <= 1.0
    assert min(distances) > 0.4
    assert max(distances) < 1.3
