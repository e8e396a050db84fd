"""The files of a version in an object store or behind a web server."""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from palm_data.store.remote import asked, clean_url, connect
from schemas.errors import StoreError

Answer = TypeVar("Answer")

_GAP = 1 << 16
"""Ranges with no more than this between them are one request: what 64 KiB take costs less than another round trip."""


class RemoteFiles:
    """The objects below a URL. Connects when it is first asked, and anew in each process."""

    def __init__(self, url: str) -> None:
        """Take the URL; it is not looked at yet.

        Raises:
            StoreError: if it is none that can be opened, or carries credentials.
        """
        self.url = clean_url(url)
        self._store: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel without a connection, and so without credentials."""
        return {"url": self.url, "_store": None}

    def __repr__(self) -> str:
        return f"RemoteFiles({self.url!r})"

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    @property
    def store(self) -> Any:
        """The obstore store below the URL."""
        if self._store is None:
            self._store = connect(self.url)
        return self._store

    def read(self, path: str) -> bytes:
        """A whole object."""
        import obstore

        return self._asked(path, lambda: obstore.get(self.store, path).bytes().to_bytes())

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of an object, those near each other in one request; a part past the end comes back shorter."""
        wanted = [(start, length) for start, length in ranges if length > 0]
        spans = _spans(wanted)
        try:
            parts = self._spans(path, spans)
        except StoreError as error:
            if "status 416" not in str(error):
                raise
            size = self.size(path) or 0  # some start past the end
            parts = self._spans(path, [(start, stop) for start, stop in spans if start < size])
        found = dict(zip((start for start, _ in spans), parts, strict=False))
        return [_cut(found, start, length) for start, length in ranges]

    def size(self, path: str) -> int | None:
        """Bytes of an object; None if there is none."""
        import obstore

        try:
            return int(self._asked(path, lambda: obstore.head(self.store, path)["size"]))
        except FileNotFoundError:
            return None

    def paths(self) -> Iterator[str]:
        """Every object."""
        yield from self.sizes()

    def sizes(self) -> dict[str, int | None]:
        """Every object with its bytes, a thousand a request."""
        import obstore

        if self.url.startswith("http"):
            raise io.UnsupportedOperation(f"{self.url}: a web server does not say which files it has.")
        return self._asked("", lambda: {item["path"]: item["size"] for item in obstore.list(self.store).collect()})

    def folders(self) -> list[str]:
        """The names directly below that have something below them.

        Raises:
            io.UnsupportedOperation: if it is a web server.
            StoreError: if the place refuses or does not answer.
        """
        import obstore

        if self.url.startswith("http"):
            raise io.UnsupportedOperation(f"{self.url}: a web server does not say which folders it has.")
        return self._asked("", lambda: list(obstore.list_with_delimiter(self.store)["common_prefixes"]))

    def _spans(self, path: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of an object from start to stop, none of which starts past its end."""
        import obstore

        if not spans:
            return []
        starts, stops = zip(*spans, strict=True)
        asking = partial(obstore.get_ranges, path=path, starts=starts, ends=stops, coalesce=0)
        return self._asked(path, lambda: [bytes(part) for part in asking(self.store)])

    def _asked(self, path: str, ask: Callable[[], Answer]) -> Answer:
        return asked(f"{self.url}/{path}" if path else self.url, "read", ask)


def _spans(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """From where to where to read so that all ranges are within, in order; those near each other are one."""
    spans: list[tuple[int, int]] = []
    for start, length in sorted(ranges):
        if spans and start - spans[-1][1] <= _GAP:
            spans[-1] = (spans[-1][0], max(spans[-1][1], start + length))
        else:
            spans.append((start, start + length))
    return spans


def _cut(found: dict[int, bytes], start: int, length: int) -> bytes:
    """A range out of the span that holds it."""
    before = [at for at in found if at <= start] if length > 0 else []
    if not before:
        return b""
    first = max(before)
    return found[first][start - first : start - first + length]
