"""How much each term of the loss weighs at a step of the training, and how learning rates rise and fall."""

import math
from collections.abc import Mapping

from schemas.prior_losses import Constant, FromStep, Linear, LossName, Schedule

__all__ = ["Constant", "FromStep", "Linear", "Schedule", "active", "rising_and_falling", "weight_at"]


def weight_at(schedule: Schedule, step: int) -> float:
    """The weight at an optimiser step, counted from 0."""
    match schedule:
        case Constant(weight=weight):
            return weight
        case Linear():
            share = (step - schedule.first_step) / (schedule.last_step - schedule.first_step)
            share = min(max(share, 0.0), 1.0)
            return schedule.start * (1.0 - share) + schedule.end * share
        case FromStep():
            return weight_at(schedule.then, step) if step >= schedule.step else 0.0


def active(schedules: Mapping[LossName, Schedule], step: int) -> frozenset[LossName]:
    """The terms that weigh anything at a step: the others need not be computed."""
    return frozenset(name for name, schedule in schedules.items() if weight_at(schedule, step) > 0.0)


def rising_and_falling(step: int, steps: int, *, warm_up: float, last: float) -> float:
    """A learning rate's share: a linear warm-up of so many steps, then a cosine down to `last`."""
    if step < warm_up:
        return (step + 1.0) / (warm_up + 1.0)
    share = (step - warm_up) / max(steps - warm_up, 1)
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * share))
