"""What the official code expects of `cameras.npy` and `poses.npy`."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from palm_data.hand.model import HandModel
from palm_data.interop.official_layout import CAMERA_IDS, MAX_FRAMES, POSE_WIDTHS
from palm_data.interop.official_problems import Problem, Problems
from palm_data.interop.pickled import read_object_npy
from schemas.errors import PalmError

_ORTHONORMAL = 1e-4
_FARTHEST_M = 10.0
_REACH_M = 0.15
_CUBE_CENTRE_M = np.array([0.02155, 0.0026, 0.01495])
_CUBE_HALF_M = 0.13806


class Size(NamedTuple):
    """Of a subject's images, px."""

    width: int
    height: int


def read_dict(folder: Path, path: str, problems: list[Problem]) -> dict[object, object] | None:
    """The dict in a file; None, and a problem, if there is none."""
    try:
        found = read_object_npy(folder / path)
    except PalmError as error:
        problems.append(Problem(path, "file", "a pickled dict", str(error)))
        return None
    if not isinstance(found, dict):
        problems.append(Problem(path, "file", "a pickled dict", type(found).__name__))
        return None
    return found


def check_cameras(path: str, found: dict[object, object]) -> tuple[Size | None, list[Problem]]:
    """The images' common size, None if it is not known, and what is wrong with the cameras."""
    cameras = found.get("cameras")
    if not isinstance(cameras, dict):
        return None, [Problem(path, "cameras", "a dict of cameras", type(cameras).__name__)]
    problems = []
    if sorted(map(str, cameras)) != list(CAMERA_IDS):
        names = ", ".join(sorted(map(str, cameras))) or "none"
        problems.append(Problem(path, "cameras", f"{CAMERA_IDS[0]} to {CAMERA_IDS[-1]}", names))
    sizes = set()
    for name, camera in cameras.items():
        entries = camera if isinstance(camera, dict) else {}
        problems += [Problem(path, f"{name}.{field}", *words) for field, *words in _camera(entries)]
        width, height = entries.get("width"), entries.get("height")
        if isinstance(width, int) and isinstance(height, int):
            sizes.add(Size(width, height))
    if len(sizes) != 1:
        names = ", ".join(f"{size.width}×{size.height}" for size in sorted(sizes)) or "none"
        problems.append(Problem(path, "height, width", "one size for all cameras", names))
        return None, problems
    return sizes.pop(), problems


def check_poses(path: str, found: dict[object, object]) -> tuple[int | None, list[Problem]]:
    """How many frames there are, None if it is not known, and what is wrong with the poses."""
    problems = []
    for name, value in found.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            problems.append(Problem(path, str(name), "an array of floats", str(kind)))
        elif not np.isfinite(value).all():
            problems.append(Problem(path, str(name), "finite numbers", f"{(~np.isfinite(value)).sum()} that are not"))
    frames: int | None = None
    for name, width in POSE_WIDTHS.items():
        array = found.get(name)
        shape = array.shape if isinstance(array, np.ndarray) else None
        rows = 1 if name == "betas" else frames
        if shape is None or len(shape) != 2 or shape[1] != width or rows not in (None, shape[0]):
            expected = f"shape ({'frames' if rows is None else rows}, {width})"
            problems.append(Problem(path, name, expected, "no array" if shape is None else str(shape)))
        elif name != "betas":
            frames = shape[0]
    if frames is not None and not 1 <= frames <= MAX_FRAMES:
        problems.append(Problem(path, "rows", f"1 to {MAX_FRAMES} frames", str(frames)))
    return frames, problems


def check_metres(path: str, cameras: dict[object, object], poses: dict[object, object]) -> Problems:
    """Hand and cameras must be within metres of each other; millimetres are a thousand times that.

    Both dicts must have passed their own checks.
    """
    transl, entries = poses["transl"], cameras["cameras"]
    if not isinstance(transl, np.ndarray) or not isinstance(entries, dict):
        return
    for name, camera in entries.items():
        seen = transl @ camera["Rt"][:3, :3].T + camera["Rt"][:3, 3]
        farthest = float(np.linalg.norm(seen, axis=1).max())
        if not farthest <= _FARTHEST_M:
            expected = f"a hand within {_FARTHEST_M:g} m of the camera"
            yield Problem(path, f"{name}.Rt", expected, f"{farthest:.1f} m")


def check_reach(path: str, poses: dict[object, object], model: HandModel) -> Problems:
    """The posed hand must lie within ±0.15 m of the model's origin, and the flat one in the canonical cube.

    The dict must have passed its own check. Both places are MANO's: of another model, the answer means little.
    """
    import torch  # nobody else here needs it

    from palm_data.hand.layer import HandLayer

    betas, pose = (torch.as_tensor(np.asarray(poses[name], dtype=np.float64)) for name in ("betas", "hand_pose"))
    layer = HandLayer(model, dtype=torch.float64)
    still = torch.zeros((len(pose), 3), dtype=torch.float64)
    flat = -torch.as_tensor(model.hands_mean.astype(np.float64))[None]
    with torch.no_grad():
        posed = layer(still, pose, betas.expand(len(pose), -1), still).vertices.numpy()
        canonical = layer(still[:1], flat, betas, still[:1]).vertices.numpy()
    reach = np.abs(posed).max(axis=(1, 2))
    worst = int(reach.argmax())
    if reach[worst] > _REACH_M:
        found = f"{reach[worst]:.3f} m in row {worst}"
        yield Problem(path, "hand_pose", f"a hand within ±{_REACH_M} m of the model's origin", found)
    beyond = float(np.abs(canonical - _CUBE_CENTRE_M).max())
    if beyond > _CUBE_HALF_M:
        expected = f"a flat hand within {_CUBE_HALF_M} m of the canonical cube's centre"
        yield Problem(path, "betas", expected, f"{beyond:.3f} m")


def _camera(entries: dict[object, object]) -> list[tuple[str, str, str]]:
    problems = []
    for field, side in (("K", 3), ("Rt", 4)):
        matrix = entries.get(field)
        if not isinstance(matrix, np.ndarray) or matrix.shape != (side, side) or matrix.dtype.kind != "f":
            shape = str(matrix.shape) if isinstance(matrix, np.ndarray) else "none"
            problems.append((field, f"{side}×{side} floats", shape))
        elif field == "K" and not _is_pinhole(matrix):
            problems.append((field, "a pinhole's matrix, px", str(matrix.tolist())))
        elif field == "Rt" and not _is_rigid(matrix):
            problems.append((field, "[R|t; 0 0 0 1] with a rotation", str(matrix.tolist())))
    for field in ("height", "width"):
        size = entries.get(field)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            problems.append((field, "a positive whole number", str(size)))
    return problems


def _is_pinhole(matrix: np.ndarray) -> bool:
    upper = np.array_equal(matrix[2], [0, 0, 1]) and matrix[1, 0] == 0
    return bool(np.isfinite(matrix).all() and upper and matrix[0, 0] > 0 and matrix[1, 1] > 0)


def _is_rigid(matrix: np.ndarray) -> bool:
    rotation = matrix[:3, :3].astype(np.float64)
    if not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        return False
    turned = np.abs(rotation @ rotation.T - np.eye(3)).max() < _ORTHONORMAL
    return bool(turned and np.linalg.det(rotation) > 0)
