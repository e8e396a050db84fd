"""The server of the pages: on one address, given back when it is closed."""

import contextlib
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from palm_data.view.origin import same_origin_only
from palm_data.view.selection import start
from schemas.errors import ConflictError, SettingsError
from schemas.ids import Slug, SubjectId

if TYPE_CHECKING:
    import viser

    from palm_data.loader.release import Release

LOOPBACK = "127.0.0.1"
_INSTALL = "pip install 'palm-factory[view]'"


@contextmanager
def serve(
    release: "Release",
    *,
    host: str = LOOPBACK,
    port: int = 8080,
    subject_id: SubjectId | None = None,
    gesture: Slug | None = None,
    hand_model: Path | None = None,
) -> Iterator[str]:
    """Serve the release until the block is left; gives the address.

    Args:
        port: 0 takes a free one.
        hand_model: the model the hands were fitted with; the shipped one by default.

    Raises:
        SettingsError: if a library that the viewer needs is not installed.
        StoreError: if there is no such subject or gesture.
        ConflictError: if the address is taken, or not one of this machine.
        BadInputError: if the hand model's file is not one.
    """
    selection = start(release, subject_id, gesture)
    with _installed():
        from palm_data.hand.model import load_hand_model
        from palm_data.view.cache import SceneCache
        from palm_data.view.page import Page
        from palm_data.view.scene import build_scene
    model = load_hand_model(hand_model)
    scenes = SceneCache(lambda subject, frame: build_scene(release, subject, frame, model))
    try:
        if selection.current is not None:  # so that the first page does not wait for libraries to load
            scenes.prepare(selection.current.subject_id, selection.current.frame)
        server = _start(host, port)
        try:
            server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
            server.scene.configure_default_lights(cast_shadow=False)
            server.gui.set_panel_label(f"PALM {release.version}")

            @server.on_client_connect
            def _(client: "viser.ClientHandle") -> None:
                Page(client, release, selection, scenes)

            yield f"http://{f'[{host}]' if ':' in host else host}:{server.get_port()}"
        finally:
            with contextlib.redirect_stdout(io.StringIO()):
                server.stop()
    finally:
        scenes.close()


@contextmanager
def _installed() -> Iterator[None]:
    """Say which library is missing, if one is, and how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("palm_data", "schemas"):
            raise
        raise SettingsError(
            f"the viewer: expected the library {error.name}, found it is not installed. Run: {_INSTALL}"
        ) from error


def _start(host: str, port: int) -> "viser.ViserServer":
    """A server on exactly this address; viser itself would take the next free port, or wait for ever."""
    with _installed():
        import viser

    class Server(viser.ViserServer):
        """Viser's server, without its public tunnel, which any page could ask for."""

        def request_share_url(self, verbose: bool = True) -> str | None:
            del verbose
            return None

    _check_free(host, port)
    with same_origin_only(host), contextlib.redirect_stdout(io.StringIO()):  # its banner; ours says more
        server = Server(host, port, verbose=False)
        if port not in (0, server.get_port()):
            server.stop()
            raise _taken(host, port, f"it given to {server.get_port()} instead")
    return server


def _check_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _taken(host, port, error.strerror or str(error)) from error


def _taken(host: str, port: int, found: str) -> ConflictError:
    return ConflictError(
        f"{host}:{port}: expected a free port of this machine, found: {found}. Choose another with --port or --host."
    )
