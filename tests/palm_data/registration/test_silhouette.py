"""The soft silhouette: its definition, its gradient, and PyTorch3D."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_data.registration.silhouette import blur_radius, sigma_px2, soft_silhouette, soft_silhouette_reference

WIDTH, HEIGHT = 24, 20


def soup(seed: int, faces: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    vertices = torch.from_numpy(rng.uniform(2, 18, (faces + 2, 2)))
    triples = torch.from_numpy(np.array([rng.choice(faces + 2, 3, replace=False) for _ in range(faces)]))
    return vertices, triples


@given(st.integers(0, 10_000), st.floats(0.05, 4.0))
@settings(max_examples=25, deadline=None)
def test_the_kernel_equals_the_definition(seed: int, sigma: float) -> None:
    vertices, faces = soup(seed)
    fast = soft_silhouette(vertices, faces, WIDTH, HEIGHT, sigma=sigma)
    plain = soft_silhouette_reference(vertices, faces, WIDTH, HEIGHT, sigma=sigma)
    assert torch.allclose(fast, plain, atol=1e-12)


@given(st.integers(0, 10_000), st.floats(0.2, 4.0))
@settings(max_examples=25, deadline=None)
def test_the_gradient_equals_autograd_of_the_definition(seed: int, sigma: float) -> None:
    vertices, faces = soup(seed)
    weights = torch.from_numpy(np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH)))
    gradients = []
    for silhouette in (soft_silhouette, soft_silhouette_reference):
        leaf = vertices.clone().requires_grad_()
        (silhouette(leaf, faces, WIDTH, HEIGHT, sigma=sigma) * weights).sum().backward()
        gradients.append(leaf.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-8, rtol=1e-6)


def test_a_large_triangle_is_opaque_inside_half_on_its_border_and_empty_far_away() -> None:
    vertices = torch.tensor([[-50.0, 10.0], [70.0, 10.0], [10.0, -80.0]], dtype=torch.float64)
    opacity = soft_silhouette(vertices, torch.tensor([[0, 1, 2]]), WIDTH, HEIGHT, sigma=0.5)
    assert opacity[2, 12] > 0.9999
    assert torch.allclose(opacity[9:11, 12].mean(), torch.tensor(0.5, dtype=torch.float64), atol=1e-6)
    assert opacity[10 + int(blur_radius(0.5)) + 1, 12] == 0.0


def test_pytorch3d_draws_the_same_silhouette_with_the_same_gradient() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    size, sigma_ndc = 24, 1e-2
    vertices, faces = soup(3)
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=(size, size)))

    ours = vertices.clone().requires_grad_()
    opacity = soft_silhouette(ours, faces, size, size, sigma=sigma_px2(sigma_ndc, size, size))
    (opacity * weights).sum().backward()

    theirs = vertices.clone().requires_grad_()
    ndc = torch.cat([1.0 - theirs * 2 / size, torch.ones(len(vertices), 1, dtype=torch.float64)], dim=1).float()
    radius = float(np.log(1e4 - 1) * sigma_ndc)
    _, _, _, distances = rasterize_meshes(
        Meshes([ndc], [faces]), image_size=size, blur_radius=radius, faces_per_pixel=len(faces), bin_size=0
    )
    probability = torch.where(distances[0] == -1, 0.0, torch.sigmoid(-distances[0] / sigma_ndc))
    reference = 1.0 - torch.prod(1.0 - probability, dim=-1)
    (reference * weights).sum().backward()
    assert torch.allclose(opacity.float(), reference, atol=2e-4)
    assert theirs.grad is not None
    assert ours.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=2e-3 * float(theirs.grad.abs().max()))


@pytest.mark.parametrize("shift", [(1.5, 0.0), (0.0, -1.5), (-1.0, 1.0)])
def test_descending_the_gradient_brings_a_shifted_shape_home(shift: tuple[float, float]) -> None:
    square = torch.tensor([[6.0, 6], [16, 6], [16, 15], [6, 15]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    target = soft_silhouette(square, faces, WIDTH, HEIGHT, sigma=0.5)
    offset = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([offset], lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        ((soft_silhouette(square + offset, faces, WIDTH, HEIGHT, sigma=0.5) - target) ** 2).sum().backward()
        optimiser.step()
    assert offset.detach().norm() < 0.05
