"""What the networks are told of a person and a pose: codes learned for each person, and new ones in their span."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from palm_model.prior.parts import Codes
from palm_model.prior.poses import Poses
from schemas.errors import SettingsError
from schemas.prior_fields import FieldSettings


class PoseEncoder(nn.Module):
    """A hand's pose in a few numbers: one linear layer of its joints' turns, the whole hand's left out."""

    def __init__(self, width: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(48, width)
        with torch.no_grad():
            self.linear.weight.uniform_(-(48**-0.5), 48**-0.5, generator=generator)
            self.linear.bias.zero_()

    def forward(self, full_pose: Float[Tensor, "p 48"]) -> Float[Tensor, "p width"]:
        """Of absolute axis-angle poses; the same however the hand is turned."""
        rootless = torch.cat([torch.zeros_like(full_pose[:, :3]), full_pose[:, 3:]], dim=-1)
        code: Tensor = self.linear(rootless)
        return code


class CodeBook(nn.Module):
    """A code of shape and one of appearance for each person (eq. 15), or one code for both.

    Raises:
        SettingsError: if one code is to serve for both and their widths differ.
    """

    def __init__(self, settings: FieldSettings, subjects: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.separate = settings.separate_codes
        if not self.separate and settings.shape_code != settings.appearance_code:
            raise SettingsError(
                "codes: expected shape_code = appearance_code where separate_codes is off, "
                f"found {settings.shape_code} and {settings.appearance_code}."
            )
        self.shape = nn.Parameter(torch.randn(subjects, settings.shape_code, generator=generator) * settings.code_std)
        if self.separate:
            first = torch.randn(subjects, settings.appearance_code, generator=generator) * settings.code_std
            self.own_appearance = nn.Parameter(first)

    @property
    def appearance(self) -> Float[Tensor, "subjects appearance"]:
        """Codes of appearance: those of shape where one serves for both."""
        return self.own_appearance if self.separate else self.shape

    def forward(self, subject: Int[Tensor, "p"]) -> tuple[Float[Tensor, "p shape"], Float[Tensor, "p appearance"]]:
        """Codes of shape and appearance of people by their rows."""
        return self.shape[subject], self.appearance[subject]


class Conditioning(nn.Module):
    """All that the networks are told of posed hands, beside β."""

    def __init__(self, book: CodeBook, pose: PoseEncoder) -> None:
        super().__init__()
        self.book, self.pose = book, pose

    def forward(self, poses: Poses) -> Codes:
        """One row a hand."""
        shape, appearance = self.book(poses.subject)
        return Codes(self.pose(poses.full_pose), shape, appearance)


@dataclass(frozen=True, eq=False)
class PcaSubspace:
    """Codes about the trained people's mean, along the directions in which these differ most."""

    mean: Float[Tensor, "width"]
    axes: Float[Tensor, "components width"]
    """Orthonormal, the one of most variance first."""
    std: Float[Tensor, "components"]
    """Spread of the trained people along each."""

    @classmethod
    def of(cls, codes: Float[Tensor, "subjects width"], components: int) -> "PcaSubspace":
        """The subspace of a trained book's codes.

        Raises:
            SettingsError: if there are not more people than components.
        """
        people = len(codes)
        if not 1 <= components < people or components > codes.shape[1]:
            raise SettingsError(
                f"codes: expected 1 to {min(people - 1, codes.shape[1])} components of {people} people, "
                f"found {components}. Take fewer components."
            )
        wide = codes.detach().double()
        mean = wide.mean(dim=0)
        _, values, axes = torch.linalg.svd(wide - mean, full_matrices=False)
        std = values / (people - 1) ** 0.5
        return cls(*(one.to(codes.dtype) for one in (mean, axes[:components], std[:components])))

    def codes(self, coefficients: Float[Tensor, "n components"]) -> Float[Tensor, "n width"]:
        """Mean + coefficients · axes."""
        return self.mean + coefficients @ self.axes

    def coefficients(self, codes: Float[Tensor, "n width"]) -> Float[Tensor, "n components"]:
        """Of the closest codes in the subspace."""
        return (codes - self.mean) @ self.axes.T


class FittedCode(nn.Module):
    """A new person's code: from the trained people's mean, first within their subspace, then free of it (eq. 16)."""

    mean: Tensor
    axes: Tensor

    def __init__(self, subspace: PcaSubspace) -> None:
        super().__init__()
        self.register_buffer("mean", subspace.mean.clone())
        self.register_buffer("axes", subspace.axes.clone())
        self.coefficients = nn.Parameter(subspace.mean.new_zeros(len(subspace.axes)))
        self.beyond = nn.Parameter(torch.zeros_like(subspace.mean), requires_grad=False)

    def free(self) -> None:
        """Let the code leave the subspace from now on."""
        self.beyond.requires_grad_(True)

    def forward(self) -> Float[Tensor, "width"]:
        """The code now."""
        return self.mean + self.coefficients @ self.axes + self.beyond
