"""`palm train prior`, as its user runs it."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from palm_model.prior.presets import preset, with_pbr
from pipelines.cli.main import app
from pipelines.prior_settings import prior_settings
from schemas.errors import BadInputError, PalmError, SettingsError, StoreError
from tests.palm_model.prior import released

SMALL = (
    "training.bundle_rays=12", "training.bundle_rays_around=4", "training.validation_views=1", "skinning.resolution=24", "fields.width=16",
    "geometry_encoding.log2_table_size=8", "radiance_encoding.log2_table_size=8", "volume.sampling.samples=4",
    "pretraining.steps=2", "pretraining.shapes=2", "pretraining.points=64", "pretraining.unseen_shapes=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released.published(tmp_path_factory.mktemp("published")).settings.releases


def train(*arguments: str | Path) -> Result:
    torch.set_num_threads(1)
    return CliRunner().invoke(app, ["train", "prior", *(str(one) for one in arguments)])


def test_a_release_becomes_a_prior_in_a_folder_once(releases: Path, tmp_path: Path) -> None:
    small = [word for change in SMALL for word in ("--set", change)]
    told = ("--preset", "tiny", "--steps", "2", "--without", "laplacian", "--hold-out-camera", "MCU_03", "--seed", "3")
    arguments = (releases, "--version", "0.2.0", "--out", tmp_path, *told, "--device", "cpu", *small)
    done = train(*arguments)
    assert done.exit_code == 0, done.output
    assert "steps refused" in done.output
    assert "trained" in done.output
    assert str(tmp_path / "prior.safetensors") in done.output.replace("\n", "")
    card = json.loads((tmp_path / "card.json").read_bytes())
    assert card["settings"]["seed"] == 3
    assert card["settings"]["losses"]["laplacian"] is None
    assert card["settings"]["training"]["steps"] == 2
    assert card["settings"]["held_out"]["cameras"] == ["MCU_03"]
    again = train(*arguments)
    assert again.exit_code == 0, again.output
    assert "unchanged" in again.output


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("--version", "0.1.0"), StoreError, "labels"),
        (("--version", "9.9.9"), StoreError, "9.9.9"),
        (("--hold-out-camera", "MCU_99"), BadInputError, "MCU_99"),
        (("--hold-out-gesture", "nosuch"), BadInputError, "nosuch"),
        (("--least-subjects", "9"), BadInputError, "at least 9 people"),
        (("--preset", "huge"), SettingsError, "huge"),
        (("--device", "abacus"), SettingsError, "abacus"),
        (("--without", "gloss"), SettingsError, "gloss"),
        (("--workspace", "elsewhere"), SettingsError, "--out"),
        (("--set", "training.nosuch=1"), SettingsError, "nosuch"),
        (("--set", "training.table_rate=-1"), SettingsError, "training.table_rate"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_error_and_leaves_nothing(
    releases: Path, tmp_path: Path, arguments: tuple[str, ...], error: type[PalmError], said: str
) -> None:
    at = () if "--version" in arguments else ("--version", "0.2.0")
    done = train(releases, *at, "--preset", "tiny", "--out", tmp_path, *arguments, "--set", "skinning.resolution=24")
    assert isinstance(done.exception, error), done.output
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "prior.safetensors").exists()


def test_settings_are_the_presets_where_nothing_else_is_said() -> None:
    assert prior_settings("tiny") == preset("tiny")
    changed = prior_settings("tiny", least_subjects=7, without=("normal",), changes=["training.table_rate=0.5"])
    assert changed.training.least_subjects == 7
    assert changed.training.table_rate == 0.5
    assert changed.losses.normal is None
    assert changed.losses.eikonal == preset("tiny").losses.eikonal


def test_the_schedules_are_as_long_as_the_steps_asked_for_and_the_shaded_branch_comes_where_there_is_none() -> None:
    assert prior_settings("cpu", steps=60) == preset("cpu", steps=60)
    assert prior_settings("cpu", steps=60, pbr=True) == with_pbr(preset("cpu", steps=60))
    assert prior_settings("gpu", pbr=True) == preset("gpu")
    with pytest.raises(SettingsError, match="found -3"):
        prior_settings("cpu", steps=-3)


def test_each_kind_that_is_held_out_is_that_kind() -> None:
    names = {"cameras": ["MCU_04"], "gestures": ["fist"], "subjects": ["0002"]}
    assert prior_settings("tiny", held_out=names).held_out.model_dump(mode="json") == names
    assert prior_settings("tiny", held_out={"cameras": None, "gestures": []}) == preset("tiny")
