"""`make prior-bench`: a session, a prior trained on it with preset `cpu`, its figures, and how fast it learns.

    python -m tests.benchmarks.prior_session FOLDER

What is done already is found again, and a killed run goes on where it was. benchmarks/prior.json keeps what came of it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

import palm_data
from palm_data.hand.model import load_hand_model
from palm_data.loader.release import Release
from palm_data.store.atomic import write_bytes
from palm_model.prior.build import build_palm_net
from palm_model.prior.checkpoint import CARD_FILE, CHECKPOINT_FILE, write_checkpoint
from palm_model.prior.hands import ReleasedHands, released_hands
from palm_model.prior.network import PalmNet
from palm_model.prior.presets import preset, with_pbr
from palm_model.prior.pretrained import load_pretrained
from palm_model.prior.train import PriorTraining, Report
from schemas.errors import StoreError
from schemas.prior import HeldOut, PriorSettings
from schemas.prior_card import PriorCard
from tests.benchmarks.duel import Result, machine
from tests.benchmarks.prior_duel import step_duel

FOLDER = Path("demo-prior")
RESULTS = Path("benchmarks") / "prior.json"
VERSION = "0.1.0"
SEED = 20
PRESET = "cpu"
HELD_OUT = HeldOut(cameras=("MCU_04",), gestures=("pinch", "victory"))
SPEED_FILE, EVALUATION_FILE = "speed.json", "evaluation.json"


class PriorBench:
    """One folder with the session, its release, and a prior; and the commands that made them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prior = folder / "prior"
        self.sdf = self.prior / "sdf.safetensors"
        self.commands = [f"python -m tests.benchmarks.prior_session {folder}"]

    @property
    def settings(self) -> PriorSettings:
        """Of the training, with both branches."""
        return with_pbr(self.radiance_settings)

    @property
    def radiance_settings(self) -> PriorSettings:
        """The same without the physically based branch: what is timed."""
        return preset(PRESET).model_copy(update={"held_out": HELD_OUT})

    def release(self) -> Release:
        """The release, made first if it is not there: about 35 minutes on two idle cores, once."""
        session, releases = self.folder / "session", self.folder / "releases"
        simulate = ["simulate", str(session), "--subjects", "6", "--gestures", "8", "--no-mono", "--seed", str(SEED)]
        places = ["--raw", str(session / "raw"), "--workspace", str(self._workspace), "--releases", str(releases)]
        try:
            found = palm_data.open_release(releases, version=VERSION)
        except StoreError:
            self._palm(simulate)
            self._palm(["materialize", *places, "--release", VERSION])
            return palm_data.open_release(releases, version=VERSION)
        self.commands += [_command(simulate), _command(["materialize", *places, "--release", VERSION])]
        return found

    def start(self, hands: ReleasedHands, settings: PriorSettings) -> PalmNet:
        """The network before its first step, its geometry pre-trained."""
        network = build_palm_net(settings, hands.model, len(hands.subject_ids))
        self._palm(["train", "sdf", "--preset", PRESET, "--out", str(self.sdf)], made=self.sdf)
        load_pretrained(self.sdf, network, hands.model)
        return network

    def train(self, release: Release, hands: ReleasedHands) -> None:
        """Train, with two threads; steps a minute and the whole time beside the prior.

        Raises:
            StoreError: if a prior is there that was trained with other settings, or on another release.
        """
        if (self.prior / CHECKPOINT_FILE).exists():
            card = PriorCard.model_validate_json((self.prior / CARD_FILE).read_bytes())
            if (card.settings, card.merkle_root) != (self.settings, release.manifest.merkle_root):
                raise StoreError(
                    f"{self.prior}: expected a prior of preset {PRESET} as it is now and of {release.manifest.merkle_root}, "
                    "found one of other settings or data, whose figures are not this bench's. Remove that folder."
                )
            return
        torch.set_num_threads(2)
        state = self.prior / "state.safetensors"
        training = PriorTraining(
            release,
            hands,
            self.settings,
            self.start(hands, self.settings),
            state_file=state,
            device=torch.device("cpu"),
        )
        clock = _Clock(self.settings.training.validate_every, shaded_from=training.settings.training.steps // 2)
        trained = training.run(clock.told)
        write_checkpoint(self.prior, trained.network, trained.card)
        write_bytes(self.prior / SPEED_FILE, (json.dumps(clock.figures(), indent=1) + "\n").encode())

    def evaluate(self) -> Mapping[str, object]:
        """The keys of `palm evaluate prior`."""
        made = self.prior / EVALUATION_FILE
        evaluate = ["evaluate", "prior", str(self._workspace), "--truth", str(self.folder / "session" / "truth")]
        evaluate += ["--release", str(self.folder / "releases"), "--checkpoint", str(self.prior), "--json"]
        told = self._palm(evaluate, made=made)
        if told is not None:
            write_bytes(made, told.encode())
        return json.loads(made.read_text())  # type: ignore[no-any-return]

    def step(self, release: Release, hands: ReleasedHands) -> Result:
        """Both sides' steps, timed."""
        return step_duel(release, hands, self.radiance_settings, self.start(hands, self.radiance_settings))

    def write(self, release: Release, hands: ReleasedHands, results: Path = RESULTS) -> None:
        """Measure both sides' steps, and write all into one file."""
        evaluated, duel = self.evaluate(), self.step(release, hands)
        content = {
            "machine": machine(),
            "seed": SEED,
            "release": VERSION,
            "dataset_digest": release.manifest.merkle_root,
            "held_out": HELD_OUT.model_dump(),
            "commands": [one.replace(str(self.folder), str(FOLDER)) for one in self.commands],
            "card": json.loads((self.prior / CARD_FILE).read_text())["figures"],
            "training": json.loads((self.prior / SPEED_FILE).read_text()),
            "step": duel.entry(),
            "evaluation": evaluated,
        }
        write_bytes(results, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    @property
    def _workspace(self) -> Path:
        return self.folder / "workspace"

    def _palm(self, arguments: list[str], *, made: Path | None = None) -> str | None:
        """Run one of palm's commands, unless what it makes is there; returns what it printed, None if it did not run."""
        command = _command(arguments)
        if command not in self.commands:
            self.commands.append(command)
        if made is not None and made.exists():
            return None
        sys.stderr.write(f"bench: {command}\n")
        if made is not None:
            made.parent.mkdir(parents=True, exist_ok=True)
        palm = str(Path(sys.executable).with_name("palm"))
        return subprocess.run([palm, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


class _Clock:
    """Wall time between steps, those left out in which views set aside were looked at."""

    def __init__(self, validate_every: int, *, shaded_from: int) -> None:
        self._every, self._last, self._begin = validate_every, time.perf_counter(), time.perf_counter()
        self._shaded_from = shaded_from
        self._taken: list[float] = []
        self._shaded: list[float] = []
        self._looked = False

    def told(self, report: Report) -> None:
        """After each step."""
        now = time.perf_counter()
        if report.validation_psnr is None:
            (self._taken if report.step <= self._shaded_from else self._shaded).append(now - self._last)
        elif report.step % self._every == 0:
            sys.stderr.write(f"bench: step {report.step} of {report.steps}, {report.validation_psnr:.2f} dB\n")
        self._last = now

    def figures(self) -> dict[str, float | int]:
        """Of the steps that this run took."""
        return {
            **_speed("steps", self._taken),
            **_speed("steps_with_pbr", self._shaded),
            "minutes": round((time.perf_counter() - self._begin) / 60.0, 2),
        }


def _speed(name: str, taken: list[float]) -> dict[str, float | int]:
    if not taken:
        return {}
    return {
        f"{name}_timed": len(taken),
        f"{name}_per_minute": round(60.0 / float(np.mean(taken)), 1),
        f"{name}_per_minute_median": round(60.0 / float(np.median(taken)), 1),
    }


def _command(arguments: list[str]) -> str:
    return " ".join(["palm", *arguments])


def main(folder: Path) -> None:
    """Everything, in its order."""
    bench = PriorBench(folder)
    release = bench.release()
    hands = released_hands(release, load_hand_model(), bench.settings.skinning)
    bench.train(release, hands)
    bench.write(release, hands)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
