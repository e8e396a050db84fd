"""The optimiser of a prior: Adam with rates of their own for tables, networks, geometry, density and light."""

import torch

from palm_model.prior.network import PalmNet
from palm_model.prior.pbr_branch import branch_of
from palm_model.prior.schedule import rising_and_falling
from schemas.prior import TrainingSettings

_DENSITY = "density."
_GEOMETRY = "geometry."
_LIGHT = "light."
_SHAPE = "conditioning.book.shape"
_APPEARANCE = "conditioning.book.own_appearance"
_POSE = "conditioning.pose."


def make_optimizer(network: PalmNet, training: TrainingSettings) -> torch.optim.Optimizer:
    """Adam; a group's `full_rate` is its learning rate before warm-up and cosine.

    What the geometry is told waits with it, since otherwise it would not stay as it is: shape codes and the encoder of
    poses. Where one code serves for shape and appearance it does not wait.
    """
    branch = branch_of(network)
    named = dict(network.named_parameters())
    shaping = (_GEOMETRY, _POSE, _SHAPE) if _APPEARANCE in named else (_GEOMETRY, _POSE)
    groups: dict[tuple[bool, float], list[torch.nn.Parameter]] = {}
    for name, parameter in named.items():
        rate = training.table_rate if ".encoding." in name else training.network_rate
        if name.startswith(_DENSITY):
            rate = training.density_rate
        if branch is not None and name.startswith(_LIGHT):
            rate = branch.settings.light_rate
        if name.startswith(_GEOMETRY):
            rate *= training.geometry_rate
        groups.setdefault((name.startswith(shaping), rate), []).append(parameter)
    listed = [{"params": list(own), "waits": of, "full_rate": rate} for (of, rate), own in groups.items()]
    return torch.optim.Adam(listed, lr=1.0, betas=(0.9, 0.99), eps=1e-15, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, training: TrainingSettings, step: int) -> None:
    """The learning rates of a step; those of all that makes the geometry are zero until it is its turn."""
    share = rate_share(training, step)
    for group in optimizer.param_groups:
        waits = group["waits"] and step < training.geometry_from
        group["lr"] = 0.0 if waits else group["full_rate"] * share


def rate_share(training: TrainingSettings, step: int) -> float:
    """What the warm-up and the cosine leave of the rates at a step."""
    return rising_and_falling(step, training.steps, warm_up=training.warm_up, last=training.last_rate)
