"""A pre-trained SDF's file: what goes in comes out, and what does not fit is refused by name."""

import dataclasses
from pathlib import Path

import pytest
import torch

from palm_model.prior.build import build_palm_net
from palm_model.prior.network import PalmNet
from palm_model.prior.pretrained import load_pretrained, pretrained_card, write_pretrained
from palm_model.prior.pretraining import pretraining_digest
from schemas.errors import IntegrityError
from schemas.prior import PriorSettings
from schemas.prior_encoding import EncodingSettings
from tests.palm_model.prior.small_pretraining import MODEL, SMALL, fresh, small_prior

FIGURES: dict[str, float | int] = {"surface_mm_mean": 0.5, "steps": 3}


def written(path: Path, seed: int = 7) -> PalmNet:
    """A network with weights of its own, in a file."""
    network = build_palm_net(small_prior().model_copy(update={"seed": seed}), MODEL, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    write_pretrained(path, network, pretrained_card(network, MODEL, SMALL, FIGURES, network_seed=seed))
    return network


def refusal(path: Path, network: PalmNet | None = None, model: object = MODEL) -> str:
    """What loading says; the network must be as before."""
    network = fresh() if network is None else network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(IntegrityError) as caught:
        load_pretrained(path, network, model)  # type: ignore[arg-type]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    return str(caught.value)


def other(**changes: object) -> PriorSettings:
    return small_prior().model_copy(update=changes)


def test_a_network_gets_the_geometry_of_the_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "sdf.safetensors"
    source, network = written(path), fresh()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    card = load_pretrained(path, network, MODEL)
    assert card.figures == FIGURES
    assert card.digest == pretraining_digest(source, MODEL, SMALL, 7)
    assert card.settings == SMALL
    for name, tensor in network.state_dict().items():
        expected = source.state_dict() if name.startswith("geometry.") else before
        assert torch.equal(tensor, expected[name]), name
    assert not torch.equal(network.state_dict()["geometry.encoding.table"], before["geometry.encoding.table"])


def test_the_same_weights_and_card_give_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path / "one")
    written(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_codes_of_appearance_and_first_values_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "sdf.safetensors"
    written(path)
    fields = small_prior().fields.model_copy(update={"appearance_code": 5, "code_std": 0.5, "beta_initial": 0.01})
    encoding = small_prior().geometry_encoding.model_copy(update={"first_value": 0.0})
    load_pretrained(path, build_palm_net(other(fields=fields, geometry_encoding=encoding), MODEL, 3), MODEL)


def test_other_sizes_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "sdf.safetensors"
    written(path)
    wide = small_prior().fields.model_copy(update={"width": 48})
    said = refusal(path, build_palm_net(other(fields=wide), MODEL, 2))
    assert "fields.width: expected 48, as the network to start has it, found 32" in said
    assert "palm train sdf" in said
    blind = small_prior().fields.model_copy(update={"use_betas": False})
    assert "fields.use_betas: expected False" in refusal(path, build_palm_net(other(fields=blind), MODEL, 2))
    # The same number of weights, of other places.
    finer = EncodingSettings(levels=6, log2_table_size=12, growth=1.5, base_resolution=17)
    said = refusal(path, build_palm_net(other(geometry_encoding=finer), MODEL, 2))
    assert "encoding.base_resolution: expected 17, as the network to start has it, found 16" in said


def test_another_hand_model_or_cube_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sdf.safetensors"
    written(path)
    said = refusal(path, model=dataclasses.replace(MODEL, sha256="0" * 64))
    assert f"hand_model: expected {'0' * 64}" in said
    assert MODEL.sha256 in said
    network = fresh()
    network.box = dataclasses.replace(network.box, half_side=0.2)
    assert "cube_half_side_m: expected 0.2" in refusal(path, network)


def test_files_that_are_none_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "sdf.safetensors"
    assert "No such file" in refusal(path)
    for content in (b"", b"\xff" * 40, b"no safetensors"):
        path.write_bytes(content)
        assert f"{path}: __metadata__.card: expected a pre-trained SDF's card" in refusal(path)
    written(path)
    path.write_bytes(path.read_bytes()[:-5])
    assert "expected a safetensors file" in refusal(path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sdf.safetensors"
    network = fresh()
    with torch.no_grad():
        next(network.geometry.parameters())[0] = torch.nan  # type: ignore[attr-defined]
    write_pretrained(path, network, pretrained_card(network, MODEL, SMALL, FIGURES, network_seed=0))
    assert "expected finite weights" in refusal(path)
