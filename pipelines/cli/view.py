"""`palm view`: look at a release in the browser."""

import ipaddress
import signal
import threading
import webbrowser
from typing import Annotated

import typer

from pipelines.cli.console import console
from schemas.settings import load_settings


def view(
    release: Annotated[
        str | None,
        typer.Argument(help="The folder of all releases, or of one version; that of the settings by default."),
    ] = None,
    *,
    version: Annotated[str | None, typer.Option(help="The highest published one by default.")] = None,
    subject: Annotated[str | None, typer.Option(help="Begin with this person.")] = None,
    gesture: Annotated[str | None, typer.Option(help="Begin with this gesture.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine can reach the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8080,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show scans, fitted hands, cameras and errors of a release in the browser, until interrupted."""
    import palm_data
    from palm_data.view.server import serve

    settings = load_settings()
    opened = palm_data.open_release(settings.releases if release is None else release, version)
    if not _only_here(host):
        console.print(
            f"[yellow]Warning:[/] {host} can be reached from other machines. Whoever can open the page sees the scans "
            "and images of everybody in this release; there is no password.", soft_wrap=True,
        )  # fmt: skip
    with serve(
        opened, host=host, port=port, subject_id=subject, gesture=gesture, hand_model=settings.hand_model
    ) as address:
        console.print(f"{opened}: {address}  (stop with Ctrl+C)", markup=False, highlight=False, soft_wrap=True)
        if open_page:
            webbrowser.open(address)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.print("stopped")


def _only_here(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
