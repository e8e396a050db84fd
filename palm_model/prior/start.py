"""Where a training starts: from a geometry that knows hands, pre-trained once for all trainings that share a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

from palm_data.hand.model import HandModel
from palm_model.prior.distributed import current_ranks
from palm_model.prior.network import PalmNet
from palm_model.prior.pretrained import load_pretrained, pretrained_card, write_pretrained
from palm_model.prior.pretraining import pretrain_geometry, pretraining_digest
from schemas.errors import IntegrityError
from schemas.prior import PriorSettings

Progress = Callable[[int, int, float], None]
"""Told the steps done, the steps to do and the loss."""


def start_geometry(
    network: PalmNet,
    model: HandModel,
    settings: PriorSettings,
    *,
    folder: Path,
    progress: Progress = lambda done, total, loss: None,
) -> Mapping[str, float | int]:
    """Give a network, in place, the pre-trained geometry of its settings; of several processes the first one makes it.

    Args:
        folder: where it is kept, under the name of all that it follows from; a damaged file is made again.

    Returns:
        How well it knows hands, as `palm_model.prior.pretraining_figures` has it.

    Raises:
        TrainingError: if a step's gradients are not finite.
    """
    ranks = current_ranks()
    digest = pretraining_digest(network, model, settings.pretraining, settings.seed)
    file = folder / f"sdf_{digest[:16]}.safetensors"
    if ranks.first and not _loaded(file, network, model):
        figures = pretrain_geometry(network, model, settings.pretraining, progress=progress)
        card = pretrained_card(network, model, settings.pretraining, figures, network_seed=settings.seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_pretrained(file, network, card)
    ranks.wait()
    return load_pretrained(file, network, model).figures


def _loaded(file: Path, network: PalmNet, model: HandModel) -> bool:
    """Whether the file was there and whole; the network has its weights then."""
    if not file.is_file():
        return False
    try:
        load_pretrained(file, network, model)
    except IntegrityError:
        return False
    return True
