"""A training in a process of its own: one that is killed after some steps, or one of several that share every step.

Arguments: the releases' folder, a folder to write to, rank, number of processes, step after which it kills itself (0: none).
"""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed

import palm_data
from palm_data.loader.release import Release
from palm_model.prior.build import build_palm_net
from palm_model.prior.hands import ReleasedHands, released_hands
from palm_model.prior.train import PriorTraining, Report
from schemas.prior import PriorSettings
from tests.palm_model.prior.released import MODEL
from tests.palm_model.prior.settings import SMALL

CPU = torch.device("cpu")


def training(release: Release, hands: ReleasedHands, settings: PriorSettings, state_file: Path) -> PriorTraining:
    """From the network that the settings' seed gives."""
    start = build_palm_net(settings, MODEL, len(hands.subject_ids))
    return PriorTraining(release, hands, settings, start, state_file=state_file, device=CPU)


def join(folder: Path, rank: int, count: int) -> None:
    """Become one of several processes."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count, timeout=timedelta(seconds=200)
    )


def main(releases: str, folder: str, rank: int, count: int, killed_after: int) -> None:
    """Train the small settings."""

    def report(told: Report) -> None:
        if told.step == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    release = palm_data.open_release(releases, "0.2.0")
    hands = released_hands(release, MODEL, SMALL.skinning)
    if count > 1:
        join(Path(folder), rank, count)
    done = training(release, hands, SMALL, Path(folder) / "state.safetensors").run(report)
    save_file(done.network.state_dict(), Path(folder) / f"weights_{rank}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
