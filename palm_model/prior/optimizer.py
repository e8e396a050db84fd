"""The optimiser of a prior: Adam with rates of their own for tables, networks, geometry and density."""

import math

import torch

from palm_model.prior.network import PalmNet
from schemas.prior import TrainingSettings

_DENSITY = "density."
_GEOMETRY = "geometry."


def make_optimizer(network: PalmNet, training: TrainingSettings) -> torch.optim.Optimizer:
    """Adam; a group's `full_rate` is its learning rate before warm-up and cosine."""
    groups: dict[tuple[bool, float], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        geometry = name.startswith(_GEOMETRY)
        rate = training.table_rate if ".encoding." in name else training.network_rate
        if name.startswith(_DENSITY):
            rate = training.density_rate
        groups.setdefault((geometry, rate * (training.geometry_rate if geometry else 1.0)), []).append(parameter)
    listed = [{"params": list(own), "geometry": of, "full_rate": rate} for (of, rate), own in groups.items()]
    return torch.optim.Adam(listed, lr=1.0, betas=(0.9, 0.99), eps=1e-15, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, training: TrainingSettings, step: int) -> None:
    """The learning rates of a step; the geometry's are zero until it is its turn."""
    share = rate_share(training, step)
    for group in optimizer.param_groups:
        waits = group["geometry"] and step < training.geometry_from
        group["lr"] = 0.0 if waits else group["full_rate"] * share


def rate_share(training: TrainingSettings, step: int) -> float:
    """Linear warm-up, then a cosine down to `last_rate`."""
    if step < training.warm_up:
        return (step + 1.0) / (training.warm_up + 1.0)
    share = (step - training.warm_up) / max(training.steps - training.warm_up, 1)
    return training.last_rate + (1.0 - training.last_rate) * 0.5 * (1.0 + math.cos(math.pi * share))
