import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_model.prior.brdf import (
    alpha_from_roughness,
    brdf,
    brdf_pdf,
    brdf_times_cosine,
    ggx,
    roughness_from_alpha,
    sample_brdf,
    schlick,
    smith_g1,
)
from schemas.prior_pbr import BrdfSettings, DiffuseForm, SpecularForm
from tests.palm_model.prior.sphere_grid import Surface, at_angle, hemisphere, random_directions, sphere, surface

UP = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
SKIN = (0.55, 0.38, 0.30)
WHITE = (1.0, 1.0, 1.0)
FORMS = [BrdfSettings(specular=s, diffuse=d) for s in get_args(SpecularForm) for d in get_args(DiffuseForm)]
EXACT = [form for form in FORMS if form.specular != "official"]
COUPLED = BrdfSettings(diffuse="coupled")
OFFICIAL = BrdfSettings(specular="official", diffuse="lambert")


def reflectance(view_cosine: float, material: Surface, settings: BrdfSettings) -> float:
    """The largest channel of the share of a furnace's light that goes towards the view."""
    grid = hemisphere(UP)
    values = brdf_times_cosine(at_angle(view_cosine)[None], grid.directions, UP[None], material, settings)
    return float((values * grid.solid[:, None]).sum(dim=0).max())


@pytest.mark.parametrize("form", EXACT, ids=lambda form: f"{form.specular}-{form.diffuse}")
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), alpha=st.floats(0.02, 1.0), metallic=st.floats(0.0, 1.0))
def test_view_and_light_may_change_places(form: BrdfSettings, seed: int, alpha: float, metallic: float) -> None:
    view, light, normal = random_directions(3, seed)[:, None]
    material = surface(SKIN, alpha, metallic)
    there, back = brdf(view, light, normal, material, form), brdf(light, view, normal, material, form)
    assert torch.allclose(there, back, rtol=1e-9, atol=0.0)


def test_the_official_form_is_not_reciprocal_at_grazing_angles_and_ours_is() -> None:
    grazing, straight, material = at_angle(1e-6)[None], at_angle(0.9)[None], surface((0.0, 0.0, 0.0), 0.4, 0.0)

    def asymmetry(form: BrdfSettings) -> float:
        one, other = (
            brdf(grazing, straight, UP[None], material, form),
            brdf(straight, grazing, UP[None], material, form),
        )
        return float((one / other - 1.0).abs().max())

    assert asymmetry(OFFICIAL) > 0.1  # by the 1e-6 in its denominator, nothing else: below a thousandth elsewhere
    assert asymmetry(BrdfSettings()) < 1e-9


def test_the_official_arithmetic_is_as_published() -> None:
    view, light, normal = at_angle(0.6, 0.1), at_angle(0.35, 2.0), UP
    albedo, a, m = torch.tensor(SKIN, dtype=torch.float64), 0.37, 0.2
    half = (view + light) / (view + light).norm()
    nv, nl, nh, c = (float(x) for x in (view @ normal, light @ normal, half @ normal, view @ half))
    d = a**2 / (math.pi * (nh**2 * (a**2 - 1) + 1) ** 2)
    k = (a + 1) ** 2 / 8
    g = (nv / (nv * (1 - k) + k)) * (nl / (nl * (1 - k) + k))
    f0 = 0.04 * (1 - m) + albedo * m
    f = f0 + (1 - f0) * 2 ** ((-5.55473 * c - 6.98316) * c)
    expected = (1 - m) * albedo * nl / math.pi + d * g * f / (4 * nv + 1e-6)
    found = brdf_times_cosine(view[None], light[None], normal[None], surface(SKIN, a, m), OFFICIAL)[0]
    assert torch.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.09, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("cosine", [0.15, 0.5, 0.95])
def test_normals_and_shadowing_belong_together(alpha: float, cosine: float) -> None:
    grid, roughness = hemisphere(UP, rows=600), torch.tensor(alpha, dtype=torch.float64)
    normals = ggx(grid.directions[:, 2], roughness)
    assert float((normals * grid.directions[:, 2] * grid.solid).sum()) == pytest.approx(1.0, abs=1e-4)
    # What a view sees of the normals, projected, is the surface as it sees it (Smith 1967).
    view = at_angle(cosine)
    seen = (grid.directions @ view).clamp(min=0.0) * normals * grid.solid
    assert float(seen.sum()) * float(smith_g1(view[2], roughness)) == pytest.approx(cosine, rel=3e-4)


@pytest.mark.parametrize("alpha", [0.09, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("cosine", [0.05, 0.3, 0.7, 1.0])
def test_a_white_surface_in_a_furnace_gives_back_no_more_than_it_got(alpha: float, cosine: float) -> None:
    mirror = reflectance(cosine, surface(WHITE, alpha, 1.0), BrdfSettings())
    assert mirror <= 1.0 + 1e-4
    assert mirror >= 0.3  # the rest bounced more than once between the facets
    if alpha < 0.1 and cosine > 0.5:
        assert mirror >= 0.98
    if alpha == cosine == 1.0:
        assert mirror == pytest.approx(1.0 - math.log(2.0), abs=1e-9)
    for metallic in (0.0, 0.5):
        assert reflectance(cosine, surface(WHITE, alpha, metallic), COUPLED) <= 1.005


def test_plain_lambert_beside_a_gloss_gives_back_more_than_it_got() -> None:
    bright = surface((0.8, 0.8, 0.8), 0.1, 0.0)
    assert reflectance(0.08, bright, BrdfSettings()) > 1.1
    assert reflectance(0.08, bright, COUPLED) < 1.0


@pytest.mark.parametrize("alpha", [0.15, 0.3, 1.0])
def test_skin_gives_back_no_more_than_it_got_in_any_form(alpha: float) -> None:
    for form in (BrdfSettings(), BrdfSettings(specular="smith_separable", diffuse="disney"), OFFICIAL):
        assert max(reflectance(cosine, surface(SKIN, alpha, 0.0), form) for cosine in (0.03, 0.3, 1.0)) < 1.0


def test_the_diffuse_part_gives_back_what_passes_the_gloss_in_closed_form() -> None:
    for cosine in (0.1, 0.5, 1.0):
        both = reflectance(cosine, surface(WHITE, 0.5, 0.0), COUPLED)
        black = reflectance(cosine, surface((0.0, 0.0, 0.0), 0.5, 0.0), COUPLED)
        fresnel = 0.04 + 0.96 * float(schlick(torch.tensor(cosine, dtype=torch.float64)))
        assert both - black == pytest.approx(1.0 - fresnel, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.09, 0.4, 0.9])
def test_the_official_shadowing_loses_light(alpha: float) -> None:
    white = surface(WHITE, alpha, 1.0)
    assert reflectance(0.4, white, OFFICIAL) < reflectance(0.4, white, BrdfSettings()) - 0.01


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.specular}-{form.diffuse}")
def test_gradients_are_those_of_differences(form: BrdfSettings) -> None:
    view, light, normal = at_angle(0.7)[None], at_angle(0.4, 2.5)[None], random_directions(1, 3) * 0.1 + UP
    normal = torch.nn.functional.normalize(normal, dim=-1).requires_grad_()
    albedo, alpha, metallic = (x.clone().requires_grad_() for x in surface(SKIN, 0.4, 0.3))

    def shaded(*given: torch.Tensor) -> torch.Tensor:
        return brdf_times_cosine(view, light, given[3], Surface(given[0], given[1], given[2]), form)

    assert torch.autograd.gradcheck(shaded, (albedo, alpha, metallic, normal))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.specular}-{form.diffuse}")
def test_below_the_horizon_and_opposite_it_is_zero_and_gradients_are_finite(form: BrdfSettings) -> None:
    view = torch.stack([at_angle(0.5), at_angle(-0.2), at_angle(0.5), at_angle(0.0), UP]).float()
    light = torch.stack([at_angle(-0.3), at_angle(0.6), -at_angle(0.5), at_angle(0.5), UP]).float()
    normal = UP.float().expand(5, 3).clone().requires_grad_()
    material = Surface(*(x.float().clone().requires_grad_() for x in surface(SKIN, 0.3, 0.5, 5)))
    found = brdf_times_cosine(view, light, normal, material, form)
    assert (found[:4] == 0).all()
    assert (found[4] > 0).all()
    found.sum().backward()
    for tensor in (normal, *material):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize("alpha", [0.15, 0.5, 1.0])
@pytest.mark.parametrize("cosine", [0.1, 0.6, 1.0])
def test_samples_have_the_density_they_are_given(alpha: float, cosine: float) -> None:
    view, material = at_angle(cosine)[None], surface(SKIN, alpha, 0.2)
    grid = sphere(rows=150)
    density = brdf_pdf(view, grid.directions, UP[None], material)
    assert float((density * grid.solid).sum()) == pytest.approx(1.0, abs=5e-3)
    numbers = torch.rand(40_000, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    drawn, pdf = sample_brdf(view, UP[None], material, numbers)
    assert torch.allclose(pdf, brdf_pdf(view, drawn, UP[None], material))
    assert torch.allclose(drawn.norm(dim=1), torch.ones(len(drawn), dtype=torch.float64))
    # Counts in boxes of direction against the density's mass: chi-square per box about 1.
    boxes = [_box(directions) for directions in (drawn, grid.directions)]
    counts = torch.bincount(boxes[0], minlength=64).double()
    mass = torch.zeros(64, dtype=torch.float64).index_add(0, boxes[1], density * grid.solid) * len(drawn)
    filled = mass > 20
    assert counts[~filled].sum() <= mass[~filled].sum() + 40
    assert float(((counts - mass)[filled] ** 2 / mass[filled]).mean()) < 2.2


def _box(directions: torch.Tensor) -> torch.Tensor:
    height = ((directions[:, 2] + 1.0) * 4.0).long().clamp(0, 7)
    around = (torch.atan2(directions[:, 1], directions[:, 0]) / (2.0 * math.pi) * 8.0 + 4.0).long().clamp(0, 7)
    return height * 8 + around


@given(st.floats(0.0, 1.0))
def test_roughness_survives_the_border(roughness: float) -> None:
    there = alpha_from_roughness(torch.tensor(roughness, dtype=torch.float64))
    assert float(there) == pytest.approx(roughness**2)
    assert float(roughness_from_alpha(there)) == pytest.approx(roughness)
