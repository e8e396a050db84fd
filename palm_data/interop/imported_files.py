"""What every imported version says and how its files are put together, whoever's format it came from."""

import json
from collections.abc import Iterable, Mapping, Sequence

from palm_data.store.contents import Entry, ReleaseContents
from palm_data.store.label_contents import Scalar
from schemas.ids import Sha256
from schemas.release import SplitRow

REPORT_FILE = "report/import.json"
CONSENT = (
    "Not recorded here: the data was released by its authors, who hold the consent of the people shown. Follow their "
    "terms, and their withdrawals."
)


def json_bytes(content: object) -> bytes:
    """A JSON document for people: same content, same bytes."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def import_settings(shard: Mapping[str, Scalar], format: str, model_sha256: Sha256) -> dict[str, Scalar]:
    """What shaped an imported version's bytes, by dotted names.

    Args:
        shard: what shaped its shards.
        model_sha256: of the hand model that its hands are of.
    """
    return {**shard, "release.labels": True, "import.format": format, "hand_model.sha256": model_sha256}


def sealed(
    entries: Iterable[Entry], splits: Sequence[SplitRow], counts: Mapping[str, int], settings: dict[str, Scalar]
) -> ReleaseContents:
    """The contents of a version, its files in order and counted."""
    ordered = tuple(sorted(entries, key=lambda entry: entry.row.path.encode()))
    size = sum(entry.row.bytes for entry in ordered)
    return ReleaseContents(
        entries=ordered,
        splits=tuple(splits),
        counts={**counts, "files": len(ordered), "bytes": size},
        settings=settings,
    )
