"""A pre-trained geometry network on disk: its weights in a safetensors file, its card in the header."""

import json
import struct
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from palm_data.hand.model import HandModel
from palm_data.store.atomic import write_bytes
from palm_model.prior.canonical_sdf import CanonicalSdf
from palm_model.prior.network import PalmNet
from palm_model.prior.pretraining import CODE_VERSION, pretraining_digest
from schemas.errors import IntegrityError
from schemas.prior_pretraining import PretrainedCard, PretrainingSettings

_MAX_BYTES = 1 << 31
_MAX_CARD_BYTES = 1 << 24
_FREE_FIELDS = ("appearance_code", "separate_codes", "code_std", "sphere_radius", "beta_initial", "beta_least")
"""Settings of the fields that a pre-trained geometry network fits any value of."""
_FREE_ENCODING = ("first_value",)


def pretrained_card(
    network: PalmNet,
    model: HandModel,
    settings: PretrainingSettings,
    figures: dict[str, float | int],
    *,
    network_seed: int,
) -> PretrainedCard:
    """The card of a network that `pretrain_geometry` has taught.

    Args:
        figures: what that returned.
        network_seed: what the network's first weights were drawn with.

    Raises:
        SettingsError: if the network's parts are not those that are trained.
    """
    learned = CanonicalSdf.of(network)
    x, y, z = learned.box.centre.tolist()
    return PretrainedCard(
        name="canonical hand, signed distance",
        code_version=CODE_VERSION,
        digest=pretraining_digest(network, model, settings, network_seed),
        settings=settings,
        network_seed=network_seed,
        fields=learned.geometry.settings,
        encoding=learned.geometry.encoding.settings,
        hand_model=model.sha256,
        cube_centre_m=(x, y, z),
        cube_half_side_m=learned.box.half_side,
        figures=figures,
    )


def write_pretrained(path: Path, network: PalmNet, card: PretrainedCard) -> None:
    """Write the geometry network's weights: the same weights and card give the same bytes.

    Raises:
        SettingsError: if the network's parts are not those that are trained.
    """
    geometry = CanonicalSdf.of(network).geometry
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in geometry.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"card": json.dumps(card.model_dump(mode="json"), sort_keys=True)}))


def load_pretrained(path: Path, network: PalmNet, model: HandModel) -> PretrainedCard:
    """Give a network the geometry in a file, in place; the rest of it, and on an error all of it, stays as it was.

    Raises:
        IntegrityError: if the file is missing, too large or damaged, or was made for other sizes, another hand model
            or another cube than the network's.
        SettingsError: if the network's parts are not those that are trained.
    """
    learned = CanonicalSdf.of(network)
    content = _content(path)
    card = _card(path, content)
    _check(path, card, learned, model)
    wanted = learned.geometry.state_dict()
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise IntegrityError(f"{path}: expected a safetensors file, found {error}.") from None
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: one.shape for name, one in wanted.items()}:
        raise IntegrityError(f"{path}: expected the tensors that its card tells of, found others. Train it again.")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise IntegrityError(f"{path}: expected finite weights, found others. Train it again.")
    learned.geometry.load_state_dict(tensors)
    return card


def read_pretrained_card(path: Path) -> PretrainedCard:
    """A file's card.

    Raises:
        IntegrityError: if the file is missing, too large, or has none.
    """
    return _card(path, _content(path))


def _check(path: Path, card: PretrainedCard, learned: CanonicalSdf, model: HandModel) -> None:
    geometry, box = learned.geometry, learned.box
    fields, encoding = geometry.settings.model_dump(), geometry.encoding.settings.model_dump()
    told_fields, told_encoding = card.fields.model_dump(), card.encoding.model_dump()
    compared = {
        "hand_model": (model.sha256, card.hand_model),
        **{f"fields.{name}": (fields[name], told_fields[name]) for name in fields if name not in _FREE_FIELDS},
        **{
            f"encoding.{name}": (encoding[name], told_encoding[name]) for name in encoding if name not in _FREE_ENCODING
        },
        "cube_centre_m": (tuple(box.centre.tolist()), card.cube_centre_m),
        "cube_half_side_m": (box.half_side, card.cube_half_side_m),
    }
    for name, (wanted, found) in compared.items():
        if wanted != found:
            raise IntegrityError(
                f"{path}: {name}: expected {wanted}, as the network to start has it, found {found}. "
                "Train one for it with: palm train sdf"
            )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise IntegrityError(
            f"{path}: expected a pre-trained SDF, found {error.strerror}. Train one with: palm train sdf"
        ) from error
    if len(content) > _MAX_BYTES:
        raise IntegrityError(f"{path}: expected at most {_MAX_BYTES} bytes, found more.")
    return content


def _card(path: Path, content: bytes) -> PretrainedCard:
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = content[8 : 8 + min(length, _MAX_CARD_BYTES)]
        return PretrainedCard.model_validate_json(json.loads(header)["__metadata__"]["card"])
    except (struct.error, ValueError, KeyError, TypeError, ValidationError):
        raise IntegrityError(
            f"{path}: expected a pre-trained SDF's card in the header, found none. Train it again."
        ) from None
