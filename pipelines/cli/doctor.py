"""`palm doctor`: what this machine lacks, and how to get it."""

import ctypes
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from pipelines.cli.console import console
from schemas.settings import Settings, load_settings

_DISTRIBUTION = "palm-factory"
_LIBRARIES = {
    ("libusb-1.0.so.0",): ("libusb-1.0-0", "Open3D will not import"),
    ("libGL.so.1",): ("libgl1", "OpenCV and Open3D will not import"),
    ("libEGL.so.1",): ("libegl1", "Open3D will not import"),
    ("libX11.so.6",): ("libx11-6", "Open3D will not import"),
    ("libgomp.so.1",): ("libgomp1", "Open3D will not import"),
    ("libgthread-2.0.so.0",): ("libglib2.0-0", "OpenCV will not import"),
    ("libLLVM-19.so.1", "libLLVM.so.19.1"): ("libllvm19", "Mitsuba cannot render (LLVM 15 crashes it)"),
}
_ROOMY_BYTES = 20 * 10**9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    good: bool
    advice: str = ""


def doctor(
    *,
    raw: Annotated[Path | None, typer.Option(help="Raw sessions; read only.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where stages write.")] = None,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
    list_settings: Annotated[bool, typer.Option("--settings", help="List every setting instead.")] = False,
) -> None:
    """Check system packages, Python packages and folders, and say what is missing."""
    settings = load_settings(raw=raw, workspace=workspace, releases=releases)
    if list_settings:
        listing = Table("variable", "in force", "meaning")
        listing.columns[0].no_wrap = True
        listing.columns[0].overflow = "fold"
        for name, value, meaning in setting_rows(settings):
            listing.add_row(name, value, meaning)
        console.print(listing)
        return
    findings = [python_finding(), *library_findings(), *package_findings(), *folder_findings(settings)]
    table = Table("", "what", "found", "do")
    for finding in findings:
        table.add_row(
            "[green]ok[/]" if finding.good else "[red]no[/]",
            finding.what,
            finding.found,
            "" if finding.good else finding.advice,
        )
    console.print(table)
    missing = [finding for finding in findings if not finding.good]
    console.print(f"{len(missing)} of {len(findings)} need attention." if missing else "All is well.")
    if missing:
        raise typer.Exit(1)


def setting_rows(model: BaseModel, prefix: str = "PALM_") -> Iterator[tuple[str, str, str]]:
    """Every setting: its variable, the value in force and what it means."""
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        variable = f"{prefix}{name.upper()}"
        if isinstance(value, BaseModel):
            yield from setting_rows(value, f"{variable}__")
        else:
            yield variable, str(value), info.description or ""


def python_finding() -> Finding:
    """Whether this Python is one the pins are for."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", version, sys.version_info[:2] in ((3, 11), (3, 12)), "Python 3.11 or 3.12 is needed.")


def library_findings() -> Iterator[Finding]:
    """The system libraries that wheels do not bring along."""
    for names, (package, consequence) in _LIBRARIES.items():
        good = any(_loads(name) for name in names)
        advice = "" if good else f"apt-get install {package} ({consequence})"
        yield Finding(names[0], "present" if good else "missing", good, advice)


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def package_findings() -> Iterator[Finding]:
    """The Python packages that this project requires, extras for the factory and the simulation included."""
    from packaging.requirements import Requirement

    absent = []
    requirements = [Requirement(text) for text in importlib.metadata.requires(_DISTRIBUTION) or ()]
    wanted = [
        item
        for item in requirements
        if item.marker is None or any(item.marker.evaluate({"extra": extra}) for extra in ("factory", "simulate"))
    ]
    for item in wanted:
        try:
            version = importlib.metadata.version(item.name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(item.name)
            continue
        if not item.specifier.contains(version, prereleases=True):
            yield Finding(item.name, version, good=False, advice=f"{item.specifier} is needed: make setup")
    advice = "" if not absent else f"make setup, or: pip install -c constraints.txt {' '.join(absent)}"
    found = f"{len(wanted) - len(absent)} of {len(wanted)} installed"
    yield Finding("Python packages", found, not absent, advice)


def folder_findings(settings: Settings) -> Iterator[Finding]:
    """Whether raw sessions can be read, and results written."""
    raw = settings.raw
    readable = raw.is_dir() and os.access(raw, os.R_OK | os.X_OK)
    yield Finding(
        f"raw: {raw}", "readable" if readable else "missing", readable, "" if readable else "palm simulate, or --raw"
    )
    written = {"workspace": settings.workspace}
    if isinstance(settings.releases, Path):  # of a store nothing can be told before it is asked
        written["releases"] = settings.releases
    for name, folder in written.items():
        parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(parent).free
        writable = os.access(parent, os.W_OK | os.X_OK)
        roomy = free >= _ROOMY_BYTES
        advice = "choose a folder you may write to" if not writable else "" if roomy else "20 GB free are advised"
        yield Finding(f"{name}: {folder}", f"{free / 1e9:.0f} GB free", writable and roomy, advice)
