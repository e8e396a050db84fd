"""The stage `prior`: a prior from a release."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from palm_data.hand.model import HandModel
from palm_data.loader.release import Release
from palm_data.report.pictures import write_png
from palm_data.store.atomic import replacing, write_bytes
from palm_data.store.workspace import StageReport, Workspace
from palm_model.prior.batches import Batches, training_subjects
from palm_model.prior.build import build_palm_net
from palm_model.prior.checkpoint import CHECKPOINT_FILE, write_checkpoint
from palm_model.prior.distributed import Ranks, current_ranks
from palm_model.prior.events import curves
from palm_model.prior.hands import released_hands
from palm_model.prior.pictures import prior_picture, shown_views
from palm_model.prior.prior import Prior
from palm_model.prior.start import Progress as Pretraining
from palm_model.prior.start import start_geometry
from palm_model.prior.train import CODE_VERSION as TRAINING_CODE_VERSION
from palm_model.prior.train import PriorTraining, Report, TrainedPrior, training_digest
from schemas.ids import Sha256
from schemas.prior import PriorSettings

STAGE = "prior"
CODE_VERSION = "1"
_GEOMETRY = "geometry"
"""Where pre-trained geometries are kept, beside the states."""
_PLACE = ".training"
"""Below the folder of a training without a workspace: its states, curves and finished outputs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Given:
    """All that a training follows from, and how it is run."""

    release: Release
    settings: PriorSettings
    model: HandModel
    device: torch.device
    progress: Callable[[Report], None]
    pretraining: Pretraining

    @property
    def digest(self) -> Sha256:
        """What its result follows from."""
        said = f"{self.release.digest()} {self.model.sha256}"
        return training_digest(said, self.settings)


def make_prior(
    release: Release,
    workspace: Workspace,
    settings: PriorSettings,
    *,
    model: HandModel,
    device: torch.device | None = None,
    resume: bool = True,
    progress: Callable[[Report], None] = lambda report: None,
    pretraining: Pretraining = lambda done, total, loss: None,
) -> StageReport | None:
    """Train a prior, unless the same one is there already; its key is the release's version.

    Training goes on where an earlier, killed one of the same release, settings and code left off; a state of others is
    never taken. Where `torch.distributed` is running, all processes call this: the first writes, and the others have
    no report.

    Args:
        device: the CPU by default.
        resume: False: begin anew, and remove the state that there is.
        progress: told after every step.
        pretraining: told after every step of the geometry's pre-training, which comes first.

    Raises:
        BadInputError: if the release cannot teach these settings; nothing is trained then.
        StoreError: if the version has no labels, or was fitted with another hand model.
        TrainingError: as `PriorTraining.run`.
    """
    given = _Given(release, settings, model, device or torch.device("cpu"), progress, pretraining)
    ranks = current_ranks()
    state_file = states_folder(workspace) / f"{given.digest}.safetensors"
    if not ranks.first:
        if _told(ranks, given.device, train=False):
            _training(given, state_file)[0].run(progress)
        return None

    def work(folder: Path) -> None:
        if not resume:
            state_file.unlink(missing_ok=True)
        _told(ranks, given.device, train=True)
        trained, figures = _trained(given, state_file, curves_folder(workspace, release.version, given.digest), folder)
        write_checkpoint(folder, trained.network, trained.card)
        write_bytes(
            folder / "figures.json",
            (json.dumps({**trained.card.figures, **figures}, indent=1, sort_keys=True) + "\n").encode(),
        )

    report = workspace.run_stage(
        STAGE,
        release.version,
        code_version=f"{CODE_VERSION}.{TRAINING_CODE_VERSION}",
        settings=settings.model_dump(mode="json", exclude={"training": {"save_every"}}),
        inputs={
            "release": release.manifest.merkle_root,
            "captures": release.digest(),
            "hand_model": model.sha256,
        },
        work=work,
    )
    if not report.ran:
        _told(ranks, given.device, train=False)
    state_file.unlink(missing_ok=True)  # a finished training needs no state
    shutil.rmtree(state_file.parent / _GEOMETRY, ignore_errors=True)
    return report


def make_prior_in(folder: Path, release: Release, settings: PriorSettings, **options: object) -> StageReport | None:
    """Train a prior into a folder of its own, for those who have a release and no workspace.

    States and curves lie in `.training` below it. The folder's files are of one finished training, and
    `prior.safetensors` appears last: what is not whole has none.

    Args:
        options: as for `make_prior`.

    Raises:
        StoreError: as `make_prior`.
    """
    workspace = Workspace(folder / _PLACE)
    report = make_prior(release, workspace, settings, **options)  # type: ignore[arg-type]
    if report is None:
        return None
    output, checkpoint = workspace.output(STAGE, report.key), folder / CHECKPOINT_FILE
    names = sorted((path.name for path in output.iterdir()), key=lambda name: (name == CHECKPOINT_FILE, name))
    if not checkpoint.exists() or not checkpoint.samefile(output / CHECKPOINT_FILE):
        checkpoint.unlink(missing_ok=True)
    for name in names:
        with replacing(folder / name) as partial:
            partial.unlink(missing_ok=True)
            _linked(output / name, partial)
    return report


def states_folder(workspace: Workspace) -> Path:
    """Where trainings keep the states that they go on from: one file each, named by what it follows from."""
    return workspace.root / "training" / STAGE


def curves_folder(workspace: Workspace, version: str, digest: Sha256) -> Path:
    """Where TensorBoard finds a training's curves; they stay when it is finished."""
    return states_folder(workspace) / "tensorboard" / f"{version}_{digest[:12]}"


def _training(given: _Given, state_file: Path) -> tuple[PriorTraining, Mapping[str, float | int]]:
    """A training that is ready, and the figures of its pre-training; a release that cannot teach is refused first."""
    subjects = training_subjects(given.release, given.settings)
    hands = released_hands(given.release, given.model, given.settings.skinning, subject_ids=subjects)
    network = build_palm_net(given.settings, given.model, len(subjects))
    Batches(given.release, hands, given.settings, numbers=1)  # refuses what cannot teach, before minutes are spent
    folder = state_file.parent / _GEOMETRY
    figures = start_geometry(network, given.model, given.settings, folder=folder, progress=given.pretraining)
    training = PriorTraining(given.release, hands, given.settings, network, state_file=state_file, device=given.device)
    return training, {f"pretraining_{name}": value for name, value in figures.items()}


def _trained(
    given: _Given, state_file: Path, drawn: Path, folder: Path
) -> tuple[TrainedPrior, Mapping[str, float | int | str]]:
    """The prior, and further figures; its picture is in the folder."""
    training, pretrained = _training(given, state_file)
    if training.state.step:
        _log.info("prior: goes on from step %d", training.state.step)
    with curves(drawn, given.settings, done=training.state.step) as draw:

        def tell(report: Report) -> None:
            draw(report)
            given.progress(report)

        trained = training.run(tell)
    _write_picture(folder / "picture.png", given, training.batches, trained)
    said = {"release": given.release.version, "preset": given.settings.preset}
    return trained, {**pretrained, **said, "subjects": len(trained.card.subjects), "views": trained.card.views}


def _write_picture(path: Path, given: _Given, batches: Batches, trained: TrainedPrior) -> None:
    prior = Prior(trained.network, trained.card, given.model)
    views = shown_views(given.release, given.settings, batches.validation)
    write_png(path, prior_picture(prior, given.release, batches.hands, views))


def _told(ranks: Ranks, device: torch.device, *, train: bool) -> bool:
    """Whether the first process said that there is something to train; all processes ask at once."""
    word = torch.tensor([float(train)], dtype=torch.float64, device=device)
    return bool(ranks.summed(word) > 0)


def _linked(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
