"""An official release as a version of ours: subjects are read into the workspace, then published with what is known of them.

What the official release has not got is absent here too, and said to be: depth, joints in images and in space, gestures,
bands, splits (they are made as for any new subjects). Exports of ours carry those rows beside it (`official_sidecar`).
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.interop.official_checksums import Checksums
from palm_data.interop.official_contents import Imported, gather_imported
from palm_data.interop.official_layout import QUALITY_FILE
from palm_data.interop.official_sidecar import Sidecar
from palm_data.interop.official_source import OfficialSource, SubjectSource, find_official
from palm_data.interop.official_subject import MET_FILE, STAGE, import_subject
from palm_data.interop.pickled import read_object_npy
from palm_data.store.plan import LeftOut
from palm_data.store.release import Publication, publish_contents
from palm_data.store.workspace import Workspace
from schemas.errors import BadInputError, IntegrityError, StoreError
from schemas.hand import HandConvention
from schemas.ids import SubjectId, VersionId
from schemas.release import Manifest
from schemas.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfficialImport:
    """What became of an official release."""

    manifest: Manifest
    left_out: tuple[LeftOut, ...]
    met: tuple[str, ...]
    """What was set aside or noted, by subject."""


def import_official(
    path: Path,
    version: VersionId,
    workspace: Workspace,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> OfficialImport:
    """Publish an official release, or part of one, as a version; an interrupted import goes on where it was.

    A subject whose cameras or poses are not usable, whose archive is damaged or is not what the checksums say, is left out
    and listed.

    Args:
        path: a version's folder (XR20A, XR20B), or one subject's folder or archive.
        progress: called with subjects done and subjects in all.

    Raises:
        BadInputError: if there is no subject at the path.
        SettingsError: if the hand model that the settings name is not readable.
        StoreError: if no hand model is named and nothing else says which the hands are of, or no subject is usable.
        ConflictError: if the version exists with other contents.
    """
    source = find_official(path)
    sidecar = Sidecar(source.root)
    convention = _convention(sidecar, settings)
    checksums = None if source.checksums is None else Checksums(source.checksums)
    reader = _Reader(sidecar, checksums, workspace, settings, list(source.met))
    left_out, taken = list[LeftOut](), list[SubjectId]()
    for done, one in enumerate(source.subjects, start=1):
        problem = reader.read(one)
        if problem is None:
            taken.append(one.subject_id)
        else:
            left_out.append(LeftOut(subject_id=one.subject_id, reasons=(problem,)))
            _log.warning("subject left out", extra={"subject_id": one.subject_id, "reason": problem})
        if progress is not None:
            progress(done, len(source.subjects))
    if not taken:
        reasons = "; ".join(f"{one.subject_id}: {one.reasons[0]}" for one in left_out[:3])
        raise StoreError(f"{path}: expected a subject that can be imported, found none ({reasons}).")
    errors = _errors(source, reader.met)
    imported = Imported(version, taken, tuple(left_out), convention, errors, tuple(reader.met), sidecar)
    contents = gather_imported(imported, workspace, settings)
    publication = Publication(version=version, parent=None)
    manifest = publish_contents(publication, contents, settings.releases)
    return OfficialImport(manifest, tuple(left_out), tuple(reader.met))


@dataclass(frozen=True)
class _Reader:
    """Reads subjects into the workspace."""

    sidecar: Sidecar
    checksums: Checksums | None
    workspace: Workspace
    settings: Settings
    met: list[str]

    def read(self, source: SubjectSource) -> str | None:
        """Why the subject could not be read; None if it was."""
        try:
            for place in (source.place, source.meshes):
                if place is not None and place.is_file() and not self._known(place):
                    self.met.append(f"{source.subject_id}: {place.name}: no checksum of it is known")
            import_subject(source, self.sidecar, self.workspace, self.settings)
        except BadInputError as error:
            return f"{error.field}: expected {error.expected}, found {error.found}"
        except IntegrityError as error:
            return str(error).replace(f"{source.place.parent}/", "")
        notes: Sequence[str] = json.loads((self.workspace.output(STAGE, source.subject_id) / MET_FILE).read_bytes())
        self.met.extend(f"{source.subject_id}: {note}" for note in notes)
        return None

    def _known(self, place: Path) -> bool:
        return self.checksums is not None and self.checksums.check(place)


def _convention(sidecar: Sidecar, settings: Settings) -> HandConvention:
    if sidecar.record is not None:
        return sidecar.record.hand_convention
    if settings.hand_model is None:
        raise StoreError(
            "hand model: expected the MANO file that the official hands are of, found none: their numbers mean nothing "
            f"without it, and {SHIPPED_MODEL.stem} is another hand. Make one with: palm mano import MANO_RIGHT.pkl, and name "
            "it with --hand-model."
        )
    return load_hand_model(settings.hand_model).convention()


def _errors(source: OfficialSource, met: list[str]) -> Mapping[tuple[SubjectId, int], float]:
    """The official errors, by subject and file number; lower is better, in no known unit."""
    if source.quality is None:
        met.append(f"{QUALITY_FILE}: none: nothing ranks the captures")
        return {}
    try:
        found = read_object_npy(source.quality)
    except BadInputError as error:
        met.append(f"{source.quality.name}: {error.field}: expected {error.expected}, found {error.found}; not read")
        return {}
    errors: dict[tuple[SubjectId, int], float] = {}
    for key, value in found.items() if isinstance(found, dict) else ():
        subject_id, _, file = str(key).partition("/")
        number = Path(file).stem
        if not (number.isascii() and number.isdigit() and isinstance(value, int | float) and abs(value) < float("inf")):
            met.append(f"{source.quality.name}: {str(key)[:80]}: not a frame's error, not read")
        else:
            errors[subject_id, int(number)] = float(value)
    return errors
