"""A pre-trained geometry network on disk: its weights in a safetensors file, its card in the header."""

from pathlib import Path

from palm_data.hand.model import HandModel
from palm_data.store.atomic import write_bytes
from palm_model.carded import CardedKind, fill_exactly
from palm_model.prior.canonical_sdf import CanonicalSdf
from palm_model.prior.network import PalmNet
from palm_model.prior.pretraining import CODE_VERSION, pretraining_digest
from schemas.errors import IntegrityError
from schemas.prior_pretraining import PretrainedCard, PretrainingSettings

_KIND = CardedKind("a pre-trained SDF", PretrainedCard, 1 << 31, "Train one with: palm train sdf")
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
    write_bytes(path, _KIND.content(CanonicalSdf.of(network).geometry.state_dict(), card))


def load_pretrained(path: Path, network: PalmNet, model: HandModel) -> PretrainedCard:
    """Give a network the geometry in a file, in place; the rest of it, and on an error all of it, stays as it was.

    Raises:
        IntegrityError: if the file is missing, too large or damaged, or was made for other sizes, another hand model
            or another cube than the network's.
        SettingsError: if the network's parts are not those that are trained.
    """
    learned = CanonicalSdf.of(network)
    found = _KIND.read(path)
    _check(path, found.card, learned, model)
    fill_exactly(learned.geometry, found.tensors, path, _KIND.hint)
    return found.card


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
                f"{path}: {name}: expected {wanted}, as the network to start has it, found {found}. {_KIND.hint}"
            )
