"""Writing to an object store: create-only puts, replacement by tag, server-side copies."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from palm_data.store.files import Files
from palm_data.store.places import Stored
from palm_data.store.remote import asked, clean_url
from palm_data.store.remote_files import RemoteFiles
from schemas.errors import ConflictError

Answer = TypeVar("Answer")


class RemotePlace:
    """The objects below a URL."""

    def __init__(self, url: str) -> None:
        """Take the URL; it is not looked at yet.

        Raises:
            StoreError: if it is none that can be opened, or carries credentials.
        """
        self.url = clean_url(url)
        self._files = RemoteFiles(url)

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    def files(self, prefix: str = "") -> Files:
        """What lies below a prefix."""
        return RemoteFiles(f"{self.url}/{prefix}") if prefix else self._files

    def folders(self) -> list[str]:
        """The prefixes directly below, sorted."""
        return sorted(self._files.folders())

    def get(self, path: str) -> Stored | None:
        """A small object; its tag is its ETag."""
        import obstore

        def ask() -> Stored:
            result = obstore.get(self._files.store, path)
            return Stored(result.bytes().to_bytes(), str(result.meta["e_tag"]))

        try:
            return self._asked(path, "read", ask)
        except FileNotFoundError:
            return None

    def put_new(self, path: str, source: bytes | Path) -> None:
        """Create an object, if there is none: If-None-Match."""
        content = source if isinstance(source, bytes) else source.read_bytes()
        self._put(path, content, "create")

    def put_replacing(self, path: str, content: bytes, tag: str | None) -> None:
        """Replace a small object by its ETag: If-Match."""
        self._put(path, content, "create" if tag is None else {"e_tag": tag})

    def copy(self, source: str, target: str) -> None:
        """Have the store copy an object; nothing passes through here."""
        import obstore

        self._asked(source, "copy", lambda: obstore.copy(self._files.store, source, target))

    def delete(self, path: str) -> None:
        """Delete an object."""
        import obstore

        with contextlib.suppress(FileNotFoundError):
            self._asked(path, "delete", lambda: obstore.delete(self._files.store, path))

    def _put(self, path: str, content: bytes, mode: Any) -> None:
        """Write under a condition. If it fails, an earlier try of ours may have succeeded unheard: look."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            self._asked(
                path, "write", lambda: obstore.put(self._files.store, path, content, mode=mode, use_multipart=False)
            )
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            found = self.get(path)
            if found is None or found.content != content:
                raise ConflictError(
                    f"{self._at(path)}: expected nothing here, or what was read before; found "
                    f"{'nothing' if found is None else 'something else'}. Nothing was changed."
                ) from None

    def _asked(self, path: str, action: str, ask: Callable[[], Answer]) -> Answer:
        """An answer, asked for again if none came; all that is asked here may be asked twice."""
        return asked(self._at(path), action, ask)

    def _at(self, path: str) -> str:
        return f"{self.url}/{path}"
