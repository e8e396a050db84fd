import pickle
from pathlib import Path

import pytest

from schemas import errors
from schemas.errors import BadInputError, ConflictError, IntegrityError, PalmError, StoreError


def test_everything_raised_on_purpose_has_one_root() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 5
    assert all(issubclass(kind, PalmError) for kind in kinds)
    assert issubclass(IntegrityError, StoreError)
    assert issubclass(ConflictError, StoreError)


def test_a_bad_input_says_expected_found_where_and_what_to_do() -> None:
    error = BadInputError(Path("raw/a.tka"), field="%f", expected="a number", found="x", hint="Export it again.")
    assert str(error) == "raw/a.tka: %f: expected a number, found x. Export it again."
    assert str(BadInputError("a", field="b", expected="c", found=3)) == "a: b: expected c, found 3."


@pytest.mark.parametrize(
    "error", [BadInputError("a", field="b", expected="c", found=3, hint="d"), IntegrityError("e"), PalmError("f")]
)
def test_errors_survive_the_trip_between_processes(error: PalmError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    if isinstance(error, BadInputError):
        assert (copy.source, copy.field, copy.expected, copy.found, copy.hint) == ("a", "b", "c", "3", "d")
