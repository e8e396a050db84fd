"""`gt_checksums.json` of an official release: {path: digest}, as far as its undocumented form can be understood.

The algorithm is told by the digest's length. A path's start (`./`, `/`, folders above) is not relied on: a file is known
by the longest end of its path that names one entry.
"""

import hashlib
import json
from pathlib import Path, PurePosixPath

from palm_data.capture.raw_files import read_bounded
from schemas.errors import BadInputError, IntegrityError

_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_MAX_BYTES = 64 << 20
_BLOCK = 1 << 20


class Checksums:
    """What files of the release should be."""

    def __init__(self, path: Path) -> None:
        """Read them.

        Raises:
            BadInputError: if it is not a flat JSON object of digests in hex.
        """
        self.path = path
        try:
            found = json.loads(read_bounded(path, max_bytes=_MAX_BYTES))
        except (ValueError, RecursionError) as error:
            raise BadInputError(path, field="JSON", expected="an object", found=error) from error
        if not isinstance(found, dict):
            raise BadInputError(path, field="JSON", expected="an object", found=type(found).__name__)
        self._digests: dict[tuple[str, ...], str] = {}
        for name, digest in found.items():
            if (
                not isinstance(digest, str)
                or len(digest) not in _ALGORITHMS
                or set(digest.lower()) - set("0123456789abcdef")
            ):
                raise BadInputError(path, field=name, expected="a digest in hex", found=str(digest)[:80])
            self._digests[_parts(name)] = digest.lower()

    def check(self, place: Path) -> bool:
        """Whether the file is listed.

        Raises:
            IntegrityError: if it is listed and is another one.
        """
        expected = self._expected(place)
        if expected is None:
            return False
        algorithm = _ALGORITHMS[len(expected)]
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with place.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        if digest.hexdigest() != expected:
            raise IntegrityError(
                f"{place}: expected {algorithm} {expected}, as {self.path.name} says, found {digest.hexdigest()}. "
                "Download it again."
            )
        return True

    def _expected(self, place: Path) -> str | None:
        parts = place.absolute().parts
        for length in range(len(parts), 0, -1):
            named = [
                digest
                for name, digest in self._digests.items()
                if name[-length:] == parts[-length:] and (length > 1 or len(name) == 1)
            ]
            if named:
                return named[0] if len(named) == 1 else None
        return None


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(name).parts if part not in ("/", "."))
