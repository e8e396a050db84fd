"""How long the loader takes to import, in fresh processes, beside torch, which other datasets' loaders begin with."""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

import numpy as np

from tests.benchmarks.duel import Result

_SCRIPT = """
import time
cpu, wall = time.process_time(), time.perf_counter()
{statement}
print(time.process_time() - cpu, time.perf_counter() - wall)
"""
OURS, PEER = "from palm_data import open_release", "import torch"
_BAR_MS = 500


def import_duel(repeats: int = 15) -> Result:
    """Both statements in turns, each in a process of its own; a first turn fills the caches of files and bytecode, untimed.

    The bar is of the time it takes: 0.5 s, so a ratio has none.
    """
    spent: dict[str, list[tuple[float, float]]] = {OURS: [], PEER: []}
    with TemporaryDirectory() as bytecode:
        for turn in range(repeats + 1):
            for statement in (OURS, PEER) if turn % 2 else (PEER, OURS):
                found = _seconds(statement, bytecode)
                if turn:
                    spent[statement].append(found)
    (cpu, wall), (peer_cpu, peer_wall) = (np.median(spent[one], axis=0) * 1e3 for one in (OURS, PEER))
    text = f"`{OURS}` against `{PEER}`, each in a fresh process, files and bytecode cached; bar of ours: {_BAR_MS} ms"
    return Result("import", text, repeats, float(cpu), float(peer_cpu), float(wall), float(peer_wall), None)


def _seconds(statement: str, bytecode: str) -> tuple[float, float]:
    """CPU and wall seconds of a statement, with the modules compiled, as an installation has them."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _SCRIPT.format(statement=statement)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**kept, "PYTHONPYCACHEPREFIX": bytecode}
    )
    cpu, wall = done.stdout.split()
    return float(cpu), float(wall)
