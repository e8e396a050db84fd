"""A training's curves, for TensorBoard."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from palm_model.prior.optimizer import rate_share
from palm_model.prior.train import Report
from schemas.prior import PriorSettings


@contextmanager
def curves(folder: Path, settings: PriorSettings, *, done: int) -> Iterator[Callable[[Report], None]]:
    """What is told of each step, as scalars: losses, PSNR on the views set aside, learning rates, steps a minute.

    Args:
        folder: where event files go.
        done: steps that the training goes on from. Curves of later steps, which a killed training drew, are dropped by
            TensorBoard; 0 removes all that is in the folder.
    """
    from torch.utils.tensorboard.writer import SummaryWriter

    if done == 0:
        shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(str(folder), purge_step=done + 1)
    last = time.monotonic()

    def draw(report: Report) -> None:
        nonlocal last
        now = time.monotonic()
        scalars = {f"loss/{name}": value for name, value in report.losses.items()}
        scalars |= {f"rate/{name}": value for name, value in _rates(settings, report.step - 1).items()}
        scalars["steps_a_minute"] = 60.0 / max(now - last, 1e-6)
        if report.validation_psnr is not None:
            scalars["validation/psnr"] = report.validation_psnr
        for name, value in scalars.items():
            writer.add_scalar(name, value, report.step)
        if report.validation_psnr is not None:
            writer.flush()
        last = now

    try:
        yield draw
    finally:
        writer.close()


def _rates(settings: PriorSettings, step: int) -> dict[str, float]:
    training, share = settings.training, rate_share(settings.training, step)
    geometry = share * training.geometry_rate * (step >= training.geometry_from)
    return {
        "table": training.table_rate * share,
        "network": training.network_rate * share,
        "density": training.density_rate * share,
        "geometry_table": training.table_rate * geometry,
        "geometry_network": training.network_rate * geometry,
    }
