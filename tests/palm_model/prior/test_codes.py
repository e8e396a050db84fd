import numpy as np
import pytest
import torch

from palm_model.prior.codes import CodeBook, Conditioning, FittedCode, PcaSubspace, PoseEncoder
from schemas.errors import SettingsError
from schemas.prior_fields import FieldSettings
from tests.palm_model.prior.hands import hands


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_pose_code_does_not_know_how_the_hand_is_turned() -> None:
    encoder = PoseEncoder(32, generator=seeded())
    pose = torch.randn(4, 48, generator=seeded(1))
    turned = pose.clone()
    turned[:, :3] += 1.0
    assert torch.equal(encoder(pose), encoder(turned))
    bent = pose.clone()
    bent[:, 3] += 1.0
    assert not torch.equal(encoder(pose), encoder(bent))


def test_one_code_serves_for_both_only_when_asked() -> None:
    apart = CodeBook(FieldSettings(code_std=1.0), 3, generator=seeded())
    shared = CodeBook(FieldSettings(code_std=1.0, separate_codes=False), 3, generator=seeded())
    rows = torch.tensor([2, 0])
    assert not torch.equal(*apart(rows))
    assert torch.equal(*shared(rows))
    assert torch.equal(apart(rows)[0], apart.shape[[2, 0]])
    assert len(list(shared.parameters())) == 1
    apart(rows)[1].sum().backward()
    assert apart.shape.grad is None
    with pytest.raises(SettingsError, match="separate_codes"):
        CodeBook(FieldSettings(shape_code=8, separate_codes=False), 3)


def test_each_hand_is_told_as_its_person() -> None:
    poses = hands("fist", "fist")
    told = Conditioning(CodeBook(FieldSettings(code_std=1.0), 2, generator=seeded()), PoseEncoder(32))(poses)
    assert told.pose.shape == (2, 32)
    assert not torch.equal(told.shape[0], told.shape[1])


def far_codes() -> torch.Tensor:
    """Forty people whose codes differ along three directions, far from zero."""
    axes = torch.randn(3, 32, generator=seeded(1))
    return 5.0 + torch.randn(40, 3, generator=seeded(2)) * torch.tensor([3.0, 2.0, 1.0]) @ axes


def test_the_subspace_keeps_the_mean_so_that_trained_people_are_in_it() -> None:
    codes = far_codes()
    subspace = PcaSubspace.of(codes, 3)
    torch.testing.assert_close(subspace.codes(subspace.coefficients(codes)), codes, atol=1e-4, rtol=1e-4)
    without_mean = subspace.coefficients(codes) @ subspace.axes
    assert (without_mean - codes).abs().mean() > 1.0
    torch.testing.assert_close(FittedCode(subspace)().detach(), codes.mean(dim=0), atol=1e-4, rtol=1e-4)


def test_the_subspace_is_that_of_the_covariance() -> None:
    codes = far_codes()
    subspace = PcaSubspace.of(codes, 2)
    values, vectors = np.linalg.eigh(np.cov(codes.double().numpy().T))
    np.testing.assert_allclose(subspace.std.numpy() ** 2, values[::-1][:2], rtol=1e-4)
    alike = np.abs(np.sum(subspace.axes.double().numpy() * vectors[:, ::-1].T[:2], axis=1))
    np.testing.assert_allclose(alike, 1.0, atol=1e-4)


@pytest.mark.parametrize("components", [0, 40, 33])
def test_too_many_components_are_refused(components: int) -> None:
    with pytest.raises(SettingsError, match="components"):
        PcaSubspace.of(far_codes(), components)


def test_a_new_persons_code_leaves_the_subspace_only_once_freed() -> None:
    subspace = PcaSubspace.of(far_codes(), 3)
    target = subspace.codes(torch.tensor([[1.0, -2.0, 0.5]]))[0]
    away = torch.randn(32, generator=seeded(3))
    away -= (away @ subspace.axes.T) @ subspace.axes
    code = FittedCode(subspace)

    def fit(to: torch.Tensor) -> float:
        asked = [one for one in code.parameters() if one.requires_grad]
        optimiser = torch.optim.LBFGS(asked, max_iter=50)

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            value = (code() - to).square().sum()
            value.backward()
            return value

        optimiser.step(loss)
        return (code() - to).detach().abs().max().item()

    assert fit(target) < 1e-3
    assert fit(target + away) > 0.1
    code.free()
    assert fit(target + away) < 1e-3
