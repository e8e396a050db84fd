"""People of a version who withdrew after it was published: their captures are left out when it is opened."""

import warnings
from collections.abc import Collection

import numpy as np
import pyarrow as pa

from palm_data.loader.tables import Tables
from palm_data.store.files import Files
from palm_data.store.places import place_at
from palm_data.store.withdrawals import read_status, status_text
from schemas.errors import ConsentError, IntegrityError, StoreError
from schemas.ids import SubjectId, VersionId
from schemas.withdrawal import VersionStatus


class WithdrawnWarning(UserWarning):
    """Somebody whom an opened version shows withdrew: their captures are left out, and the copy is to be erased."""


def not_withdrawn(tables: Tables, named: Collection[SubjectId]) -> np.ndarray:
    """(n,) int64: the rows of the captures table of people who did not withdraw, ascending; warns if some did.

    Args:
        named: the subjects that the caller asked for.

    Raises:
        ConsentError: if one of those withdrew.
        IntegrityError: if the version's status is damaged: nobody's consent is known then.
    """
    import pyarrow.compute as pc

    subject_ids, status = tables["captures"]["subject_id"], status_of(tables.files, tables.manifest.version)
    if status is None:
        text = f"{tables.files.name}: the status beside this version cannot be read: nobody can say here who withdrew."
        warnings.warn(text, WithdrawnWarning, stacklevel=3)
        return np.arange(len(subject_ids))
    gone = status.withdrawn_ids & set(subject_ids.unique().to_pylist())
    if not gone:
        return np.arange(len(subject_ids))
    text = f"{tables.files.name}: {status_text(status)}"
    if gone & set(named):
        raise ConsentError(
            f"{text} Expected subjects who did not withdraw, found {', '.join(sorted(gone & set(named)))}."
        )
    warnings.warn(f"{text} Their captures are left out.", WithdrawnWarning, stacklevel=3)
    return np.flatnonzero(~np.asarray(pc.is_in(subject_ids, pa.array(sorted(gone)))))


def status_of(files: Files, version: VersionId) -> VersionStatus | None:
    """What became of a version, as the status beside it says; None if its place will not tell.

    Raises:
        IntegrityError: if the status is damaged.
    """
    try:
        return read_status(place_at(files.name.rpartition("/")[0]), version)
    except IntegrityError:
        raise
    except (StoreError, OSError):
        return None
