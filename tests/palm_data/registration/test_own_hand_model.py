"""A hand model of one's own, brought in by `palm mano import`, runs through every stage in the shipped one's place."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palm_data.hand.fits import load_convention, load_hands
from palm_data.hand.mano_import import MANO_TIP_VERTICES
from palm_data.hand.model import load_hand_model
from palm_data.maps.hand_maps import make_hand_maps
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.quality.score import load_quality, score_subject
from palm_data.registration.hand_pose import make_hand_pose
from palm_data.registration.hand_shape import make_hand_shape
from palm_data.registration.parameters import frame_parameters
from palm_data.registration.posed import PosedHandFunction
from palm_data.store.arrays import open_group
from pipelines.cli.main import app
from schemas.hand import HandRow
from schemas.settings import Settings
from tests.palm_data.calibration.sessions import Ingested
from tests.palm_data.hand.test_mano_import import chumpy  # noqa: F401 - a fixture
from tests.palm_data.registration.mano_like import FACES, RIM, VERTICES, reduced, whole
from tests.palm_data.registration.sessions import detect, hand_session, true_hand

pytestmark = pytest.mark.usefixtures("chumpy")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    session = hand_session(tmp_path_factory.mktemp("own"), gestures=1)
    detect(session)
    make_scan_maps("0001", session.workspace, session.settings)
    return session


def imported(folder: Path, content: dict[str, object], *options: str) -> Path:
    """`palm mano import` of a pickle in MANO's own form."""
    (folder / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(content, protocol=2))
    out = folder / "mano_right.npz"
    done = CliRunner().invoke(app, ["mano", "import", str(folder / "MANO_RIGHT.pkl"), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    return out


def run(made: Ingested, settings: Settings) -> tuple[HandRow, np.ndarray, float]:
    """All stages that know the hand model; the hand, its mask, and the capture's score."""
    for stage in (make_hand_shape, make_hand_pose, make_hand_maps, score_subject):
        assert stage("0001", made.workspace, settings).ran
    (hand,) = load_hands(made.workspace, "0001")
    mask = np.asarray(open_group(made.workspace.output("hand_maps", "0001") / "maps.zarr")["hand_mask/full"])
    (row,) = load_quality(made.workspace, "0001")
    assert row.quality_ok, row.reasons
    return hand, mask, row.score


def test_the_shipped_model_under_manos_keys_gives_the_same_labels(made: Ingested, tmp_path: Path) -> None:
    shipped = load_hand_model()
    expected, mask, score = run(made, made.settings)
    path = imported(tmp_path, whole(shipped), "--tips", ",".join(map(str, shipped.tip_vertex_ids)))
    own = load_hand_model(path)
    assert own.sha256 != shipped.sha256
    described = CliRunner().invoke(app, ["hand", "info"], env={"PALM_HAND_MODEL": str(path)})
    assert own.sha256 in described.stdout
    found, own_mask, own_score = run(made, made.settings.model_copy(update={"hand_model": path}))
    for name in ("global_orient", "hand_pose", "betas", "transl"):
        assert np.allclose(getattr(found, name), getattr(expected, name), atol=1e-4), name
    assert (own_mask != mask).mean() < 1e-4
    assert own_score == pytest.approx(score, abs=1e-3)
    convention = load_convention(made.workspace, "0001")
    assert (convention.model_id, convention.model_sha256) == ("mano_right", own.sha256)
    assert convention.tip_vertex_ids == shipped.tip_vertex_ids


def test_a_model_of_manos_exact_sizes_fits_the_same_hand(made: Ingested, tmp_path: Path) -> None:
    path = imported(tmp_path, reduced(load_hand_model()))
    model = load_hand_model(path)
    assert (len(model.v_template), len(model.faces), len(model.rim_vertices())) == (VERTICES, FACES, RIM)
    assert model.tip_vertex_ids == MANO_TIP_VERTICES
    hand, mask, _ = run(made, made.settings.model_copy(update={"hand_model": path}))
    posed = PosedHandFunction(model)(frame_parameters(hand), np.array(hand.betas))
    true = true_hand(made.session.gestures[0])
    assert np.linalg.norm(posed.joints - true.joints, axis=1).mean() < 0.003
    assert hand.model_to_scan_mm_mean is not None
    assert hand.model_to_scan_mm_mean < 1.5
    assert mask.any(axis=(2, 3)).all()
    assert load_convention(made.workspace, "0001").model_sha256 == model.sha256
