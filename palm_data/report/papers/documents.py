"""All papers of a version, each as the bytes of a file."""

from collections.abc import Mapping

from palm_data.report.papers.card import readme
from palm_data.report.papers.changelog import changelog
from palm_data.report.papers.croissant import croissant
from palm_data.report.papers.datasheet import datasheet
from palm_data.report.papers.facts import ReleaseFacts


def papers(facts: ReleaseFacts) -> Mapping[str, bytes]:
    """Path → content; the same contents and texts give the same bytes, whenever and wherever they are made.

    Raises:
        IntegrityError: if the parent's manifest or files table is damaged, or a file that a picture is made from.
    """
    return {
        "README.md": readme(facts).encode(),
        "DATASHEET.md": datasheet(facts).encode(),
        "CHANGELOG.md": changelog(facts).encode(),
        "croissant.json": croissant(facts),
    }
