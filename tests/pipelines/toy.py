"""Small real stages for testing orchestration: they write through the workspace and read what an earlier one wrote."""

import json
import os
import signal
from pathlib import Path

import numpy as np

from palm_data.store.workspace import StageReport, Workspace
from schemas.errors import BadInputError
from schemas.settings import Settings

CODE_VERSION = "1"


def grow(key: str, workspace: Workspace, settings: Settings) -> StageReport:
    """A field of numbers that depends on the key, through kernels that would like many threads."""
    source = settings.raw / key / "session.json"
    if "broken" in source.read_text():
        raise BadInputError(source, field="captured_at", expected="a time", found="broken")
    if "defect" in source.read_text():
        raise ZeroDivisionError("a defect of ours")
    if "killed" in source.read_text():
        os.kill(os.getpid(), signal.SIGKILL)

    def work(folder: Path) -> None:
        rng = np.random.default_rng(int(key))
        matrix = rng.normal(size=(300, 300)).astype(np.float32)
        product = matrix @ matrix.T
        (folder / "field.bin").write_bytes(product.tobytes())
        (folder / "figures.json").write_text(json.dumps({"numbers": product.size, "largest": float(product.max())}))

    return workspace.run_stage(
        "grow", key, code_version=CODE_VERSION, settings={}, inputs={"session": source.read_text()}, work=work
    )


def shrink(key: str, workspace: Workspace, settings: Settings) -> StageReport:
    """The sum of what `grow` made."""
    del settings
    record = workspace.require("grow", key)

    def work(folder: Path) -> None:
        field = np.frombuffer((workspace.output("grow", key) / "field.bin").read_bytes(), dtype=np.float32)
        (folder / "figures.json").write_text(json.dumps({"sum": float(field.sum())}))

    return workspace.run_stage(
        "shrink", key, code_version=CODE_VERSION, settings={}, inputs={"grow": record.digest}, work=work
    )


def thread_variables(key: str, workspace: Workspace, settings: Settings) -> StageReport:
    """What the process that works on the key was told of threads."""
    del settings
    told = {name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}

    def work(folder: Path) -> None:
        (folder / "figures.json").write_text(json.dumps(told))

    return workspace.run_stage("threads", key, code_version=CODE_VERSION, settings={}, inputs={}, work=work)


def write_sessions(raw: Path, **contents: str) -> None:
    """Folders with a session file each; names are `s0001="…"`."""
    for name, text in contents.items():
        folder = raw / name.removeprefix("s")
        folder.mkdir(parents=True)
        (folder / "session.json").write_text(text)
