"""`palm train sdf`, run as a person runs it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from palm_data.hand.model import load_hand_model
from palm_model.prior import presets
from palm_model.prior.build import build_palm_net
from palm_model.prior.pretrained import load_pretrained
from palm_model.prior.pretraining import learned_sdf
from palm_model.prior.pretraining_picture import LEARNED_LINE, TRUE_LINE, pretraining_picture
from pipelines.cli.main import app
from schemas.errors import SettingsError
from tests.palm_model.prior.small_pretraining import SMALL, small_prior, taught


def palm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", "sdf", *map(str, arguments)])


def test_a_file_with_its_figures_and_a_picture_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = small_prior()
    monkeypatch.setitem(presets._PRESETS, "tiny", (1, lambda steps: small))
    out = tmp_path / "new" / "sdf.safetensors"
    result = palm("--preset", "tiny", "--out", out, "--steps", "3", "--seed", "4")
    assert result.exit_code == 0, result.output
    assert "surface_mm_mean" in result.output
    model = load_hand_model()
    network = build_palm_net(small_prior(), model, 5)
    card = load_pretrained(out, network, model)
    assert card.settings == SMALL.model_copy(update={"steps": 3, "seed": 4})
    assert card.network_seed == 4
    assert str(card.figures["surface_mm_mean"]) in result.output
    picture = cv2.imread(str(out.with_suffix(".png")))
    assert picture is not None
    assert picture.shape[0] > 600
    assert picture.shape[1] > 600


def test_the_picture_shows_the_learned_line_on_the_true_one() -> None:
    network, _ = taught()
    sheet = pretraining_picture(learned_sdf(network, SMALL), load_hand_model(), tile_px=64)
    assert sheet.shape[:2] == (3 * (64 + 22) + 4, 3 * 68 + 4)
    slices, mean_hand = sheet[:, :136], sheet[86 + 22 : 86 + 22 + 64, 140:204]
    assert (slices == TRUE_LINE).all(axis=2).sum() > 50  # what the black line leaves of it
    assert (slices == LEARNED_LINE).all(axis=2).sum() > 50
    seen = mean_hand[mean_hand.any(axis=2)]
    assert 0.05 < len(seen) / 64**2 < 0.4
    assert float((seen[:, 2] > 128).mean()) > 0.95  # blue: towards us
    assert float(np.median(seen[:, 2])) > 190


def test_an_unknown_preset_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "sdf.safetensors"
    result = palm("--preset", "huge", "--out", out)
    assert result.exit_code != 0
    assert isinstance(result.exception, SettingsError)
    assert "expected one of tiny, cpu, gpu, paper" in str(result.exception)
    assert not out.exists()
