"""How much each term of the loss weighs at a step of the training."""

from collections.abc import Mapping

from schemas.prior_losses import Constant, FromStep, Linear, LossName, Schedule

__all__ = ["Constant", "FromStep", "Linear", "Schedule", "active", "weight_at"]


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
