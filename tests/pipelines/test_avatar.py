"""Avatars as assets, and from the command line: a released view or a user's own files in, a file and pictures out."""

import json
import shutil
from pathlib import Path

import cv2
import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from palm_data.store.atomic import file_sha256
from palm_data.store.workspace import Workspace
from palm_data.testing.tiny import Tiny, write_subjects
from palm_model.avatar.stage import ViewInput
from palm_model.prior.checkpoint import CHECKPOINT_FILE, write_checkpoint
from pipelines.assets.avatar import avatar, relit_views
from pipelines.batch import BatchRequest, _selected
from pipelines.cli.main import app
from pipelines.definitions import build_definitions
from pipelines.outcomes import RETIRED
from pipelines.resources import Places
from schemas.errors import SettingsError
from tests.palm_model.avatar.scene import photographed, small_prior
from tests.palm_model.prior.conftest import coloured

__all__ = ["coloured"]
KEY = "0.2.0-0001-1-MCU_02"


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = small_prior(lit=True)
    return write_checkpoint(tmp_path_factory.mktemp("prior"), made.network, made.card)


def test_a_batch_makes_no_avatars() -> None:
    chosen = _selected(build_definitions(), BatchRequest(select="*"))
    assert "calibration" in [key.to_user_string() for key in chosen]
    assert not {"avatar", "relit_views"} & {key.to_user_string() for key in chosen}


def test_an_input_is_a_key() -> None:
    view = ViewInput.of(KEY)
    assert view == ("0.2.0", "0001", 1, "MCU_02")
    assert view.key == KEY
    for wrong in ("0001-1-MCU_02", "0.2.0-1-1-MCU_02", "0.2.0-0001-x-MCU_02", f"{KEY}/..", ""):
        with pytest.raises(SettingsError, match=r"expected a key like 1\.2\.0-0004-3-MCU_02"):
            ViewInput.of(wrong)


def test_the_assets_make_an_avatar_of_a_released_view_once(coloured: Tiny, prior: Path, tmp_path: Path) -> None:
    places = Places(
        raw=str(coloured.settings.raw), workspace_root=str(tmp_path / "w"), releases=str(coloured.settings.releases)
    )
    config = {"ops": {"avatar": {"config": {"prior": str(prior), "steps": 4}}}}
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("avatar_inputs", [KEY])
        for now in (True, False):
            result = dg.materialize(
                [avatar, relit_views],
                resources={"places": places},
                partition_key=KEY,
                run_config=config,
                instance=instance,
                selection=["avatar", "relit_views"],
            )
            assert result.success
            for name in ("avatar", "relit_views"):
                (made,) = result.asset_materializations_for_node(name)
                assert made.metadata["made_now"].value == now
                assert "picture" in made.metadata
    workspace = Workspace(tmp_path / "w")
    names = {path.name for path in workspace.output("avatar", KEY).iterdir()}
    assert names == {"avatar.safetensors", "card.json", "picture.png", "figures.json"}
    card = json.loads((workspace.output("avatar", KEY) / "card.json").read_text())
    assert card["photos"][0]["origin"]["subject_id"] == "0001"
    assert not list((tmp_path / "w").rglob("fit.safetensors"))
    assert {path.name for path in workspace.output("relit_views", KEY).glob("*.png")} == {
        "evening_window.png", "northern_sky.png", "picture.png",
    }  # fmt: skip


def test_the_command_makes_an_avatar_of_a_users_own_files(prior: Path, tmp_path: Path) -> None:
    photo = photographed()
    cv2.imwrite(str(tmp_path / "photo.png"), photo.rgb[..., ::-1])
    cv2.imwrite(str(tmp_path / "mask.png"), photo.mask.astype(np.uint8) * 255)
    (tmp_path / "hand.json").write_text(photo.fit.model_dump_json())
    camera = photo.camera.model_dump(
        include={"width", "height", "fx", "fy", "cx", "cy", "rotation", "translation"}, mode="json"
    )
    (tmp_path / "camera.json").write_text(json.dumps(camera))
    files = [
        f"--{name}={tmp_path / f'{name}.{end}'}"
        for name, end in (("mask", "png"), ("hand", "json"), ("camera", "json"))
    ]
    out = tmp_path / "out"
    given = ["personalize", str(tmp_path / "photo.png"), *files, f"--prior={prior}", f"--out={out}", "--steps=4"]
    told = CliRunner().invoke(app, given, catch_exceptions=False)
    assert told.exit_code == 0, told.output
    assert {path.name for path in out.iterdir()} == {"avatar.safetensors", "card.json", "picture.png"}
    with pytest.raises(SettingsError, match=r"--mask: expected one for each photograph \(1\), found 0"):
        CliRunner().invoke(app, [one for one in given if not one.startswith("--mask")], catch_exceptions=False)


def test_the_formats_are_shown() -> None:
    told = CliRunner().invoke(app, ["personalize", "--formats"], catch_exceptions=False)
    assert told.exit_code == 0
    shown = json.loads(told.output)
    assert set(shown) == {"HandFit", "PhotoCamera"}
    assert all(one["examples"] for one in shown.values())


def test_the_asset_takes_the_workspaces_own_prior_and_forgets_who_withdrew(
    coloured: Tiny, prior: Path, tmp_path: Path
) -> None:
    raw, workspace = tmp_path / "raw", Workspace(tmp_path / "w")
    places = Places(raw=str(raw), workspace_root=str(workspace.root), releases=str(coloured.settings.releases))
    write_subjects(raw, ["0001", "0002"])

    def work(folder: Path) -> None:
        shutil.copyfile(prior, folder / CHECKPOINT_FILE)

    def made(*names: str) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [avatar, relit_views],
            resources={"places": places},
            partition_key=KEY,
            run_config={"ops": {"avatar": {"config": {"steps": 0}}}} if "avatar" in names else {},
            instance=instance,
            selection=list(names),
        )

    workspace.run_stage("prior", "0.2.0", code_version="1", settings={}, inputs={}, work=work)
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("avatar_inputs", [KEY])
        for asset in ("avatar", "relit_views"):
            assert made("avatar", "relit_views").success
            card = json.loads((workspace.output("avatar", KEY) / "card.json").read_text())
            assert card["prior_sha256"] == file_sha256(prior)
            state = workspace.root / "training" / "avatar" / KEY / "fit.safetensors"
            state.parent.mkdir(parents=True)
            state.write_bytes(b"what a killed fit left")
            write_subjects(raw, ["0001", "0002"], withdrawn=["0001"])
            (told,) = made(asset).asset_materializations_for_node(asset)
            assert str(told.metadata[RETIRED].value).startswith("consent withdrawn")
            assert workspace.record("avatar", KEY) is None
            assert workspace.record("relit_views", KEY) is None
            assert not state.exists()
            write_subjects(raw, ["0001", "0002"])
