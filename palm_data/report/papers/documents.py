"""All papers of a version, each as the bytes of a file."""

import json
from collections.abc import Mapping
from pathlib import Path

from palm_data.hand.model import HandModel, load_hand_model
from palm_data.report.papers.arrays import Arrays
from palm_data.report.papers.card import readme
from palm_data.report.papers.changelog import changelog
from palm_data.report.papers.croissant import croissant
from palm_data.report.papers.datasheet import datasheet
from palm_data.report.papers.facts import ReleaseFacts
from palm_data.report.papers.page import page

_CONVENTION = b"hand_convention"


def papers(facts: ReleaseFacts, arrays: Arrays, hand_model: Path | None) -> Mapping[str, bytes]:
    """Path → content; the same contents and texts give the same bytes, whenever and wherever they are made.

    Args:
        hand_model: the file of the settings' hand model; None: the one that ships.

    Raises:
        IntegrityError: if the parent's manifest or files table is damaged, or a file that a picture is made from.
    """
    return {
        "README.md": readme(facts).encode(),
        "DATASHEET.md": datasheet(facts).encode(),
        "CHANGELOG.md": changelog(facts).encode(),
        "croissant.json": croissant(facts),
        "report/index.html": page(facts, arrays, fitted_model(facts, hand_model)).encode(),
    }


def fitted_model(facts: ReleaseFacts, path: Path | None) -> HandModel | None:
    """The hand model that the version's hands were fitted with; None without hands, or if the file is of another one."""
    if not facts.labelled:
        return None
    metadata = facts.tables["hands"].schema.metadata or {}
    convention = json.loads(metadata.get(_CONVENTION, b"{}"))
    model = load_hand_model(path)
    return model if model.sha256 == convention.get("model_sha256") else None
