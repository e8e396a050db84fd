"""How much of the encodings is open at a step of the training."""

from palm_model.prior.network import Progress
from schemas.prior import Opening, PriorSettings


def progress_at(settings: PriorSettings, step: int) -> Progress:
    """What a step sees; weights kept after so many steps are to be shown with the same."""
    training = settings.training

    def at(opening: Opening | None) -> float | None:
        return None if opening is None else opening.at(step)

    return Progress(at(training.levels), at(training.bands), at(training.geometry_levels))
