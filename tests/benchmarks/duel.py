"""Two ways of doing the same, timed in turns in one process, and the file that keeps what came of it.

python -m tests.benchmarks.duel        prints benchmarks/results.json as tables
"""

import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

RESULTS = Path("benchmarks") / "results.json"
_PACKAGES = ("numpy", "zarr", "numcodecs", "google-crc32c", "opencv-python", "pyarrow", "webdataset", "torch")


@dataclass(frozen=True)
class Result:
    """Medians of a duel."""

    name: str
    sample: str
    repeats: int
    ours: float
    peer: float
    """Milliseconds of CPU time of the whole process."""
    ours_wall: float
    peer_wall: float
    bar: float | None

    def entry(self) -> dict[str, object]:
        """As `results.json` holds it."""
        return {
            "name": self.name,
            "ours": round(self.ours, 4),
            "peer": round(self.peer, 4),
            "ratio": round(self.peer / self.ours, 2),
            "unit": "ms of CPU time, median",
            "bar": self.bar,
            "ours_wall_ms": round(self.ours_wall, 4),
            "peer_wall_ms": round(self.peer_wall, 4),
            "ratio_wall": round(self.peer_wall / self.ours_wall, 2),
            "repeats": self.repeats,
            "sample": self.sample,
        }


def duel(
    name: str,
    ours: Callable[[int], object],
    peer: Callable[[int], object],
    *,
    sample: str,
    repeats: int,
    bar: float | None = None,
) -> Result:
    """Time the two in turns, each beginning every other turn, both told the turn's number; turn 0 warms up, untimed."""
    spent: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    sides = (ours, peer)
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeats + 1):
            for side in (0, 1) if turn % 2 else (1, 0):
                cpu, wall = time.process_time(), time.perf_counter()
                sides[side](turn)
                if turn:
                    spent[side].append((time.process_time() - cpu, time.perf_counter() - wall))
    finally:
        gc.enable()
    (cpu_ours, wall_ours), (cpu_peer, wall_peer) = (
        (np.median(np.array(spent[side]), axis=0) * 1e3).tolist() for side in (0, 1)
    )
    return Result(name, sample, repeats, cpu_ours, cpu_peer, wall_ours, wall_peer, bar)


def write_results(
    entries: Sequence[Mapping[str, object]], sizes: Sequence[Mapping[str, object]], path: Path = RESULTS
) -> None:
    """Put the entries into the file, those of other names left as they are."""
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = {str(entry["name"]): entry for entry in before.get("entries", [])}
    kept.update({str(entry["name"]): dict(entry) for entry in entries})
    content = {
        "machine": machine(),
        "entries": [kept[name] for name in sorted(kept)],
        "sizes": [dict(one) for one in sizes] or before.get("sizes", []),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def table(path: Path = RESULTS) -> str:
    """The results as `docs/loader.md` shows them."""
    found = json.loads(path.read_text())
    lines = ["| Comparison | Ours, ms | Peer, ms | Ratio | Bar |", "|---|---|---|---|---|"]
    for entry in found["entries"]:
        bar = "–" if entry.get("bar") is None else f"≥ {entry['bar']}"
        lines.append(
            f"| `{entry['name']}` | {entry['ours']:.2f} | {entry['peer']:.2f} | {entry['ratio']:.1f} | {bar} |"
        )
    lines += ["", "| MB an image | Whole | Background zeroed |", "|---|---|---|"]
    for size in found["sizes"]:
        lines.append(f"| {size['choice']} | {size['mb_per_image_full']:.2f} | {size['mb_per_image_masked']:.2f} |")
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """What it was measured on, with no name of a host."""
    cpu = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "others_running": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
