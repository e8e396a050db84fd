"""A prior that is the truth itself, and priors that are off by a known amount, get the figures that they deserve."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from palm_data.evaluate.light import read_environment
from palm_data.evaluate.predicted_surface import Mesh
from palm_data.evaluate.prior import BakedHands, PriorToScore, evaluate_prior
from palm_data.evaluate.prior_views import Kind, choose_views
from palm_data.evaluate.true_views import TrueViews, ViewName
from palm_data.hand.model import load_hand_model
from palm_data.maps.predicted import PredictedView
from palm_data.store.workspace import Workspace
from palm_model.prior.build import build_palm_net
from palm_model.prior.checkpoint import write_checkpoint
from palm_model.prior.pbr_branch import branch_of
from palm_model.prior.presets import preset, with_pbr
from palm_model.prior.prior import Prior
from pipelines.cli.evaluate_prior import prior_bars
from pipelines.cli.main import app
from pipelines.prior_scoring import PICTURE_SCORES, recovered_lights
from schemas.camera import Camera
from schemas.errors import BadInputError, StoreError
from schemas.prior import HeldOut
from schemas.prior_card import PriorCard
from schemas.prior_evaluation import PriorEvaluationSettings
from tests.palm_data.evaluate.prior_session import CAMERA, GESTURE, VERSION, PriorSession, prior_session
from tests.palm_data.registration.sessions import true_hand

QUICK = PriorEvaluationSettings(spp=4, supersample=2, new_pose_views=1, train_views=1, light_rows=16)
HELD_OUT = HeldOut(cameras=(CAMERA,), gestures=(GESTURE,))
Render = Callable[[Camera, str, int], PredictedView]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> PriorSession:
    return prior_session(tmp_path_factory.mktemp("prior"))


@pytest.fixture(scope="module")
def views(session: PriorSession) -> TrueViews:
    return TrueViews(session.truth, session.truth.parent / "truth_views", QUICK, threads=1)


def truth_itself(session: PriorSession, views: TrueViews) -> Render:
    def render(camera: Camera, subject_id: str, frame: int) -> PredictedView:
        gesture = session.release.capture(subject_id, frame).gesture
        true = views[ViewName(subject_id, gesture, frame, camera)]
        skin = true.skin.astype(np.float32)
        return PredictedView(true.rgb, skin, true.normal, true.depth, 0.25 * true.albedo, pbr_rgb=0.5 * true.rgb)

    return render


def evaluate(session: PriorSession, views: TrueViews, prior: PriorToScore) -> dict[str, float | int | str | None]:
    return evaluate_prior(
        session.release, views, prior, HELD_OUT, scores=PICTURE_SCORES, settings=QUICK, model=load_hand_model()
    )


def test_true_views_are_kept_and_made_again_only_when_what_they_are_made_of_changes(
    session: PriorSession, views: TrueViews, tmp_path: Path
) -> None:
    (chosen,) = (one for one in choose_views(session.release, HELD_OUT, QUICK) if one.kind is Kind.NEW_CAMERA)
    first = views[chosen.name]
    assert first.rgb[first.skin].mean() > 0.1
    assert not first.rgb[0, 0].any()
    (kept,) = (session.truth.parent / "truth_views").rglob(f"*{chosen.name.gesture}.{CAMERA}*")
    before = kept.stat().st_mtime_ns
    again = TrueViews(session.truth, session.truth.parent / "truth_views", QUICK, threads=1)
    assert np.array_equal(again[chosen.name].rgb, first.rgb)
    assert kept.stat().st_mtime_ns == before
    other = TrueViews(session.truth, tmp_path, QUICK.model_copy(update={"spp": 9}), threads=1)
    assert not np.array_equal(other[chosen.name].rgb, first.rgb)
    # What the rig delivered shows the same hand at the same place, within a pixel of its outline.
    mask = chosen.view.mask
    assert (first.skin & mask).sum() / (first.skin | mask).sum() > 0.97
    scanned = (chosen.view.normal @ np.asarray(chosen.name.camera.rotation))[first.skin & mask]
    assert np.degrees(np.arccos((scanned * first.normal[first.skin & mask]).sum(1).clip(-1, 1))).mean() < 4.0
    assert np.abs(chosen.view.depth - first.depth)[first.skin & mask].mean() < 1e-3


def test_the_truth_as_a_prior_reaches_every_bar(session: PriorSession, views: TrueViews) -> None:
    environment = read_environment(session.truth)

    def light(directions: np.ndarray) -> np.ndarray:
        row = (np.arccos(directions[:, 2].clip(-1, 1)) / np.pi * len(environment)).astype(int).clip(0, 7)
        return 3.0 * environment[row, 0]

    figures = evaluate(session, views, PriorToScore(truth_itself(session, views), [light]))
    assert figures["psnr_fg"] == figures["psnr_fg_train"] == figures["psnr_fg_new_pose"] == np.inf
    assert figures["ssim_fg"] == pytest.approx(1.0)
    assert figures["normal_deg_mean"] < 4.0
    assert figures["silhouette_iou_mean"] > 0.97
    assert figures["surface_mm_mean"] < 0.8  # pixels are 3 mm apart
    assert figures["floaters"] == 0
    assert figures["albedo_error"] == pytest.approx(0.0, abs=1e-6)  # a scale makes no difference
    assert figures["albedo_error_input"] > 0.01
    assert figures["irradiance_correlation"] > 0.99
    assert np.isfinite(figures["psnr_fg_pbr"])
    # The rig's painted pictures are not the traced ones, so the baseline is far from them, but it is a picture of a hand.
    assert 5.0 < figures["psnr_fg_baked"] < 40.0
    assert {figures[f"views_{kind}"] for kind in Kind} == {1}


def test_known_errors_come_out_as_they_are(session: PriorSession, views: TrueViews) -> None:
    itself, error, turn, nearer = truth_itself(session, views), 0.1, np.radians(30.0), 0.004

    def render(camera: Camera, subject_id: str, frame: int) -> PredictedView:
        true = itself(camera, subject_id, frame)
        inside = true.opacity > 0
        rgb = np.where(true.rgb > 0.5, true.rgb - error, true.rgb + error) * inside[..., None]
        away = np.linalg.qr(np.array([[0.3, 0.1, 0.9], [1, 0, 0], [0, 1, 0]]).T)[0][:, 0]
        side = np.cross(true.normal, away)
        side /= np.maximum(np.linalg.norm(side, axis=2, keepdims=True), 1e-9)
        normal = (np.cos(turn) * true.normal + np.sin(turn) * side).astype(np.float32)
        depth = np.where(inside, true.depth - nearer, 0.0).astype(np.float32)
        opacity = true.opacity.copy()
        opacity[: camera.height // 2] = 0.0
        return PredictedView(rgb.astype(np.float32), opacity, normal, depth)

    figures = evaluate(session, views, PriorToScore(render))
    assert figures["psnr_fg"] == pytest.approx(20.0, abs=1e-3)
    assert figures["psnr_fg_new_pose"] == pytest.approx(20.0, abs=1e-3)
    assert figures["normal_deg_mean"] == pytest.approx(30.0, abs=2.0)
    assert 1.5 < figures["surface_to_true_mm_mean"] <= 4.0
    assert figures["silhouette_iou_mean"] < 0.8
    assert figures["albedo_error"] is figures["psnr_fg_pbr"] is figures["irradiance_correlation"] is None


def test_a_mesh_is_measured_instead_of_depths_where_there_is_one(session: PriorSession, views: TrueViews) -> None:
    model = load_hand_model()
    gestures = {one.frame: one.gesture for one in session.release}

    def mesh(subject_id: str, frame: int) -> Mesh:
        vertices = true_hand(gestures[frame]).vertices
        blob = np.array([[0, 0, 0], [1e-3, 0, 0], [0, 1e-3, 0]]) + vertices.max(axis=0) + 0.01
        faces = np.concatenate([model.faces, [[len(vertices), len(vertices) + 1, len(vertices) + 2]]])
        return Mesh(np.concatenate([vertices, blob]), faces)

    figures = evaluate(session, views, PriorToScore(truth_itself(session, views), mesh=mesh))
    assert (figures["surface_source"], figures["floaters"]) == ("mesh", 2)  # one in each capture
    assert figures["surface_from_true_mm_mean"] == pytest.approx(0.0, abs=1e-3)


def test_the_baseline_sees_training_captures_and_cameras_only(
    session: PriorSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palm_data.evaluate import baked

    seen = []
    original = baked._bake_view
    monkeypatch.setattr(baked, "_bake_view", lambda view, *rest: seen.append(view) or original(view, *rest))
    hands, shown = BakedHands(session.release, HELD_OUT, load_hand_model()), {}
    for one in choose_views(session.release, HELD_OUT, QUICK):
        shown[one.kind] = hands.views(one, 2)
    assert {one.camera_id for one in seen} == {f"MCU_{pod:02d}" for pod in range(1, 8)} - {CAMERA}
    assert len(seen) == 6  # of the one capture that is not of the held-out gesture
    assert set(shown[Kind.NEW_CAMERA]) == {"person", "capture"}
    assert set(shown[Kind.NEW_POSE]) == {"person"}


def test_nothing_held_out_and_another_truth_are_named(session: PriorSession, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"new_camera.*held out: nothing"):
        choose_views(session.release, HeldOut(), QUICK)
    with pytest.raises(BadInputError, match=r"cameras\.json"):
        TrueViews(tmp_path, tmp_path, QUICK)
    shutil.copyfile(session.truth / "cameras.json", tmp_path / "cameras.json")
    empty = TrueViews(tmp_path, tmp_path / "views", QUICK)
    with pytest.raises(BadInputError, match=r"surface\.npz: file: expected what is true"):
        empty.make([one.name for one in choose_views(session.release, HELD_OUT, QUICK)])


def untrained(session: PriorSession, workspace: Path, **changes: object) -> None:
    """A prior that has learned nothing, where a trained one would lie."""
    model = load_hand_model()
    settings = preset("tiny").model_copy(update={"held_out": HELD_OUT})
    values = {
        "name": "prior", "code_version": "1", "settings": settings, "release_version": VERSION, "views": 6,
        "merkle_root": session.release.manifest.merkle_root, "data_digest": "0" * 64, "subjects": ("0001",),
        "hand_model": model.sha256, "figures": {}, **changes,
    }  # fmt: skip
    network = build_palm_net(settings, model, 1)

    def work(folder: Path) -> None:
        write_checkpoint(folder, network, PriorCard(**values))

    Workspace(workspace).run_stage("prior", VERSION, code_version="1", settings={}, inputs={}, work=work)


def command(session: PriorSession, workspace: Path, *arguments: str) -> list[str]:
    places = ["--truth", str(session.truth), "--release", str(session.releases), "--threads", "1"]
    return ["evaluate", "prior", str(workspace), *places, *arguments]


def test_the_command_scores_the_prior_of_a_workspace(
    session: PriorSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.prior_evaluation.PriorEvaluationSettings", lambda: QUICK)
    untrained(session, tmp_path / "workspace")
    found = CliRunner().invoke(app, command(session, tmp_path / "workspace", "--json"))
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    wanted = {
        "psnr_fg_train", "psnr_fg", "psnr_fg_baked", "psnr_fg_new_pose", "psnr_fg_new_pose_baked", "psnr_fg_pbr",
        "normal_deg_mean", "silhouette_iou_mean", "surface_mm_mean", "albedo_error", "irradiance_correlation", "floaters",
    }  # fmt: skip
    assert wanted <= set(figures)
    assert figures["psnr_fg"] < figures["psnr_fg_baked"]  # it has learned nothing
    assert figures["release"] == VERSION
    assert figures["albedo_error"] is figures["irradiance_correlation"] is None  # it has no light


@pytest.mark.parametrize("shared", [True, False])
def test_the_lights_of_a_prior_are_those_that_its_branch_learned(shared: bool) -> None:
    model, people = load_hand_model(), ("0001", "0002")
    settings = with_pbr(preset("tiny"), shared_environment=shared)
    network = build_palm_net(settings, model, len(people))
    found = recovered_lights(Prior(network, SimpleNamespace(subjects=people, settings=settings), model))
    assert len(found) == (1 if shared else 2)
    with torch.no_grad():
        branch_of(network).lights[-1].lobes[:, 4:] *= 3.0
    directions = np.eye(3)
    learned = branch_of(network).light_of(len(found) - 1).radiance(torch.eye(3)).detach().numpy()
    assert np.allclose(found[-1](directions), learned, rtol=1e-6)
    assert recovered_lights(Prior(build_palm_net(preset("tiny"), model, 1), None, model)) == ()


def test_a_prior_of_other_data_is_not_scored(session: PriorSession, tmp_path: Path) -> None:
    untrained(session, tmp_path / "workspace", merkle_root="f" * 64)
    found = CliRunner().invoke(app, command(session, tmp_path / "workspace"))
    assert isinstance(found.exception, StoreError)
    assert "merkle_root: expected ffff" in str(found.exception)
    found = CliRunner().invoke(app, command(session, tmp_path / "nowhere"))
    assert "expected the output of stage 'prior'" in str(found.exception)


def test_bars_follow_the_baselines() -> None:
    bars = prior_bars({"psnr_fg_baked": 21.0, "psnr_fg_new_pose_baked": 20.0, "psnr_fg": 24.0})
    assert bars["psnr_fg"] == ("at least", 23.0)
    assert bars["psnr_fg_new_pose"] == ("at least", 21.5)
    assert bars["psnr_fg_pbr"] == ("at least", 22.0)
    assert "albedo_error" not in bars
