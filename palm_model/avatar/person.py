"""What is learned of one person: codes by the trained people's spread, and small corrections of the photographs' poses."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palm_data.hand.layer import HandLayer
from palm_data.hand.model import HandModel
from palm_model.prior.build import build_palm_net
from palm_model.prior.codes import CodeBook, FittedCode, PcaSubspace
from palm_model.prior.codes import Conditioning as TrainedConditioning
from palm_model.prior.network import PalmNet
from palm_model.prior.parts import Codes, Conditioning
from palm_model.prior.poses import Poses, posed_hands
from schemas.avatar import HandFit
from schemas.errors import SettingsError
from schemas.prior import PriorSettings

_LEAST_SPREAD = 1e-4
_CENTIMETRES = 100.0


class PersonCode(nn.Module):
    """A new person's code, with the trained people's spread as its unit."""

    spread: Tensor

    def __init__(self, trained: Float[Tensor, "subjects width"], components: int) -> None:
        """Begin at the trained people's mean.

        Args:
            components: of their subspace, at most; of one person there is none.
        """
        super().__init__()
        count = min(components, len(trained) - 1, trained.shape[1])
        subspace = (
            PcaSubspace.of(trained, count)
            if count > 0
            else PcaSubspace(trained.detach().mean(dim=0), trained.new_zeros(0, trained.shape[1]), trained.new_zeros(0))
        )
        self.code = FittedCode(subspace)
        spread = subspace.std.mean() if count > 0 else trained.detach().std()
        self.register_buffer("spread", spread.clamp(min=_LEAST_SPREAD))

    def forward(self) -> Float[Tensor, "width"]:
        """The code now."""
        code: Tensor = self.code()
        return code

    def distance(self) -> Float[Tensor, ""]:
        """Squared distance from the mean, in spreads, a number of the code each."""
        away = (self.code() - self.code.mean) / self.spread
        return away.square().mean()


class PersonCodes(nn.Module):
    """Shape and appearance of one person, whatever the row that is asked for; the pose as the prior tells it."""

    def __init__(self, trained: TrainedConditioning, components: int) -> None:
        super().__init__()
        self.shape = PersonCode(trained.book.shape, components)
        self.own_appearance = PersonCode(trained.book.appearance, components) if trained.book.separate else None
        self.pose = trained.pose

    @property
    def appearance(self) -> PersonCode:
        """Of shape and appearance at once, where the prior has one code."""
        return self.shape if self.own_appearance is None else self.own_appearance

    def parts(self) -> list[PersonCode]:
        """The codes that are learned."""
        return [self.shape] if self.own_appearance is None else [self.shape, self.own_appearance]

    def free(self) -> None:
        """Let the codes leave the trained people's subspace."""
        for part in self.parts():
            part.code.free()

    def distance(self) -> Float[Tensor, ""]:
        """Mean of both codes' distances from the mean."""
        return torch.stack([part.distance() for part in self.parts()]).mean()

    def forward(self, poses: Poses) -> Codes:
        """One row a hand."""
        rows = len(poses)
        return Codes(self.pose(poses.full_pose), self.shape().expand(rows, -1), self.appearance().expand(rows, -1))

    def book_rows(self, book: CodeBook) -> None:
        """Write the codes into a book of one person."""
        with torch.no_grad():
            book.shape.copy_(self.shape()[None])
            if book.separate:
                book.own_appearance.copy_(self.appearance()[None])


class CorrectedHands(nn.Module):
    """The photographs' hands: their fits and small corrections of joints and place; one shape."""

    betas: Tensor
    global_orient: Tensor
    hand_pose: Tensor
    transl: Tensor

    def __init__(self, fits: Sequence[HandFit], model: HandModel) -> None:
        """Begin without correction; the shape is the fits' mean."""
        super().__init__()
        self._layer = [HandLayer(model)]  # in a list: it is not ours to train or to store
        for name in ("betas", "global_orient", "hand_pose", "transl"):
            given = torch.tensor([getattr(fit, name) for fit in fits], dtype=torch.float32)
            self.register_buffer(name, given.mean(dim=0, keepdim=True) if name == "betas" else given)
        self.turn = nn.Parameter(torch.zeros(len(fits), 3), requires_grad=False)
        self.bend = nn.Parameter(torch.zeros(len(fits), 45), requires_grad=False)
        self.shift = nn.Parameter(torch.zeros(len(fits), 3), requires_grad=False)

    def free(self) -> None:
        """Let poses be corrected from now on."""
        for part in (self.turn, self.bend, self.shift):
            part.requires_grad_(True)

    def corrected(self) -> tuple[Tensor, Tensor, Tensor]:
        """Global orientation, hand pose and place of each photograph's hand."""
        return self.global_orient + self.turn, self.hand_pose + self.bend, self.transl + self.shift

    def size(self) -> Float[Tensor, ""]:
        """Mean squared correction: radians of a joint's angle, centimetres of place."""
        angles = torch.cat([self.turn, self.bend], dim=1).square().mean()
        return angles + (_CENTIMETRES * self.shift).square().mean()

    def forward(self) -> Poses:
        """The hands now, with gradients to the corrections once they are free."""
        layer, (orient, pose, place) = self._layer[0].to(self.betas.device), self.corrected()
        betas = self.betas.expand(len(orient), -1)
        subject = torch.zeros(len(orient), dtype=torch.int64, device=betas.device)
        return posed_hands(layer, betas, orient, pose, place, subject=subject)


def told_by(network: PalmNet, conditioning: Conditioning, light: nn.Module | None) -> PalmNet:
    """The same networks, told of a person by something else and in another light; nothing of them learns any more."""
    network.requires_grad_(False)
    told = PalmNet(
        network.geometry,
        network.radiance,
        network.material,
        network.density,
        conditioning,
        box=network.box,
        settings=network.settings,
        light=light,
    )
    told.open = network.open
    return told


def person_network(settings: PriorSettings, model: HandModel) -> PalmNet:
    """A prior's network for one person who stands in a light of their own, whose colour is free."""
    pbr = settings.pbr
    if pbr is not None:
        pbr = pbr.model_copy(update={"shared_environment": True, "balanced_light": False})
    return build_palm_net(settings.model_copy(update={"pbr": pbr}), model, 1).requires_grad_(False).eval()


def trained_conditioning(network: PalmNet) -> TrainedConditioning:
    """What a trained network is told of its people by.

    Raises:
        SettingsError: if it is not a code book.
    """
    if not isinstance(network.conditioning, TrainedConditioning):
        raise SettingsError(f"prior: expected a code book, found {type(network.conditioning).__name__}.")
    return network.conditioning
