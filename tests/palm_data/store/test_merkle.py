import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm_data.store.merkle import merkle_root
from schemas.errors import StoreError
from schemas.release import FileRow

PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
ROWS = st.lists(
    st.builds(
        lambda path, size, digest: FileRow(path=path, bytes=size, sha256=digest.hex(), modality="rgb"),
        PATHS,
        st.integers(0, 2**40),
        st.binary(min_size=32, max_size=32),
    ),
    max_size=12,
    unique_by=lambda row: row.path,
)


def reference(rows: list[FileRow]) -> bytes:
    """RFC 6962's recursion, split at the largest power of two below the count."""
    ordered = sorted(rows, key=lambda row: row.path.encode())

    def tree(part: list[FileRow]) -> bytes:
        if len(part) == 1:
            path = part[0].path.encode()
            leaf = len(path).to_bytes(8) + path + part[0].bytes.to_bytes(8) + bytes.fromhex(part[0].sha256)
            return hashlib.sha256(b"\x00" + leaf).digest()
        at = 1
        while at * 2 < len(part):
            at *= 2
        return hashlib.sha256(b"\x01" + tree(part[:at]) + tree(part[at:])).digest()

    return tree(ordered) if ordered else hashlib.sha256(b"").digest()


@given(ROWS, st.randoms())
def test_the_root_does_not_depend_on_the_order(rows: list[FileRow], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert merkle_root(rows) == merkle_root(shuffled)


@given(ROWS)
def test_the_root_is_that_of_rfc_6962(rows: list[FileRow]) -> None:
    assert merkle_root(rows) == reference(rows).hex()


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.model_copy(update={"path": row.path + "x"}),
        lambda row: row.model_copy(update={"bytes": row.bytes + 1}),
        lambda row: row.model_copy(update={"sha256": f"{int(row.sha256, 16) ^ 1:064x}"}),
    ],
)
@given(rows=ROWS.filter(bool), pick=st.integers(0))
def test_any_change_of_a_file_changes_the_root(
    change: Callable[[FileRow], FileRow], rows: list[FileRow], pick: int
) -> None:
    at = pick % len(rows)
    changed = [*rows[:at], change(rows[at]), *rows[at + 1 :]]
    if len({row.path for row in changed}) == len(changed):
        assert merkle_root(changed) != merkle_root(rows)


@given(ROWS.filter(bool))
def test_a_file_less_changes_the_root(rows: list[FileRow]) -> None:
    assert merkle_root(rows[1:]) != merkle_root(rows)


def test_a_path_given_twice_is_refused() -> None:
    row = FileRow(path="a", bytes=1, sha256="0" * 64, modality="rgb")
    with pytest.raises(StoreError, match="a: expected each path once"):
        merkle_root([row, row])
