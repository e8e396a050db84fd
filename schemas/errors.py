"""The one error hierarchy.

A message says what was expected, what was found (with file and field), and what to do next.
Everything this project raises on purpose is a `PalmError`; anything else is a defect of ours.
"""

from pathlib import Path


class PalmError(Exception):
    """Root of every error this project raises on purpose."""


class BadInputError(PalmError):
    """A file or value given to us is not what the format promises.

    Args:
        source: the file (or other origin) that was read.
        field: what in it is wrong, in the format's own words (a column, a line, a key).
        expected: what a correct input holds there.
        found: what was there.
        hint: what the person can do about it.
    """

    def __init__(self, source: Path | str, *, field: str, expected: str, found: object, hint: str = "") -> None:
        self.source = str(source)
        self.field = field
        self.expected = expected
        self.found = str(found)
        self.hint = hint
        tail = f" {hint}" if hint else ""
        super().__init__(f"{source}: {field}: expected {expected}, found {found}.{tail}")

    def __reduce__(self) -> tuple[object, tuple[str, str, str, str, str]]:
        """Survive the trip between worker processes."""
        return (_bad_input, (self.source, self.field, self.expected, self.found, self.hint))


def _bad_input(source: str, field: str, expected: str, found: str, hint: str) -> BadInputError:
    return BadInputError(source, field=field, expected=expected, found=found, hint=hint)


class GeometryError(PalmError):
    """A geometric computation was asked for something that has no answer."""


class SettingsError(PalmError):
    """A setting is missing, unknown or out of range."""


class TrainingError(PalmError):
    """A training cannot go on."""


class ConsentError(PalmError):
    """The data of a person who has not granted consent, or has withdrawn it, was about to be used."""


class StoreError(PalmError):
    """The workspace or a release could not be read or written as asked."""


class IntegrityError(StoreError):
    """Stored bytes are not the bytes that were written: damaged, truncated, missing or edited."""


class ConflictError(StoreError):
    """Somebody else wrote first: nothing of theirs was changed."""
