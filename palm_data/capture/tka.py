"""`.tka`: one camera of a 3dMD calibration, one text file.

Tagged lines in a fixed order, then nine lines for people that repeat the values; of those only the camera's name
and the decentering coefficients say something new. Lines end in CRLF; LF is read too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from palm_data.capture.raw_files import read_bounded
from schemas.camera import Matrix3, Row3, TsaiCamera
from schemas.errors import BadInputError

MAX_TKA_BYTES = 64 * 1024
_ROTATION_TOLERANCE = 1e-5
_STEM = re.compile(r"^\d{2}_[ABC]$")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_IS_NUMBER = re.compile(_NUMBER)
_DECENTERING = re.compile(rf"^P1\(\s*({_NUMBER})\s*\)\s*,\s*P2\(\s*({_NUMBER})\s*\)$")
_REPEATS = (
    "Focal length",
    "Position",
    "Num of Pixels in image",
    "Effective pixel size",
    "Principal point",
    "Radial distortion",
    "Second Order Radial distortion",
)


class _Lines:
    """The file's lines, read in order; every complaint names the line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self.number = 0
        self._lines: Iterator[tuple[int, str]] = iter(enumerate((line.strip() for line in text.splitlines()), 1))

    def bad(self, number: int, field: str, expected: str, found: object) -> BadInputError:
        return BadInputError(
            self._path,
            field=f"line {number} ({field})",
            expected=expected,
            found=repr(found),
            hint="Export the calibration from the rig again.",
        )

    def next(self, field: str, expected: str) -> tuple[int, str]:
        following = next(self._lines, None)
        if following is None:
            raise self.bad(self.number + 1, field, expected, "the end of the file")
        self.number = following[0]
        return following

    def tagged(self, tag: str, count: int) -> list[float]:
        """The `count` numbers behind a tag; with the empty tag, the numbers of a bare line."""
        expected = f"{tag or 'a row'} and {count} number{'s' if count != 1 else ''}"
        number, line = self.next(tag or "%M", expected)
        words = line.split()
        if tag:
            if not words or words[0] != tag:
                raise self.bad(number, tag, expected, line)
            words = words[1:]
        if len(words) != count or not all(_IS_NUMBER.fullmatch(word) for word in words):
            raise self.bad(number, tag or "%M", expected, line)
        values = [float(word) for word in words]
        if not np.isfinite(values).all():
            raise self.bad(number, tag or "%M", "finite numbers", line)
        return values

    def one(self, tag: str, *, positive: bool = False) -> float:
        """The number behind a tag."""
        (value,) = self.tagged(tag, 1)
        if positive and value <= 0:
            raise self.bad(self.number, tag, "a number above zero", value)
        return value

    def labelled(self, label: str) -> tuple[int, str]:
        """What stands behind the label (and its equals sign, where it has one), and the line's number."""
        number, line = self.next(label, f"'{label} …'")
        if not line.startswith(label):
            raise self.bad(number, label, f"'{label} …'", line)
        return number, line.removeprefix(label).lstrip(" =").rstrip()

    def finish(self) -> None:
        """Only blank lines may be left."""
        for number, line in self._lines:
            if line:
                raise self.bad(number, "end", "nothing after the decentering line", line)


def _read_text(path: Path) -> str:
    content = read_bounded(path, max_bytes=MAX_TKA_BYTES)
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        found = f"{content[error.start]:#x}"
        raise BadInputError(path, field=f"byte {error.start}", expected="ASCII text", found=found) from None


def _rotation(path: Path, lines: _Lines) -> Matrix3:
    lines.tagged("%M", 0)
    rows = [lines.tagged("", 3) for _ in range(3)]
    matrix = np.clip(rows, -2.0, 2.0)  # entries of a rotation are within 1; squares of huge ones overflow
    off = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if off > _ROTATION_TOLERANCE or np.linalg.det(matrix) < 0:
        raise BadInputError(
            path,
            field="%M (lines 2 to 4)",
            expected="a rotation (orthonormal rows, determinant +1)",
            found=f"rows off by {off:.2g}, determinant {np.linalg.det(matrix):.4g}",
            hint="Export the calibration from the rig again.",
        )
    first, second, third = (_row(row) for row in rows)
    return first, second, third


def _row(values: list[float]) -> Row3:
    x, y, z = values
    return x, y, z


def _image_size(lines: _Lines) -> tuple[int, int]:
    width, height = lines.tagged("%is", 2)
    if not (width.is_integer() and height.is_integer() and 0 < width <= 1 << 16 and 0 < height <= 1 << 16):
        raise lines.bad(lines.number, "%is", "two whole numbers above zero", f"{width:g} {height:g}")
    return int(width), int(height)


def _raw_name(path: Path, lines: _Lines) -> str:
    number, name = lines.labelled("Camera type")
    if not _STEM.match(name):
        raise lines.bad(number, "Camera type", "NN_A, NN_B or NN_C", name)
    if _STEM.match(path.stem) and path.stem != name:
        raise lines.bad(number, "Camera type", f"{path.stem}, as the file is called", name)
    return name


def _no_decentering(lines: _Lines) -> None:
    number, text = lines.labelled("Decentering distortion coeffs")
    match = _DECENTERING.match(text)
    if match is None:
        raise lines.bad(number, "Decentering distortion coeffs", "P1(…), P2(…)", text)
    if any(float(group) != 0 for group in match.groups()):
        # Neither the unit nor the sign of P1 and P2 is documented; a guess would shift pixels silently.
        raise lines.bad(number, "Decentering distortion coeffs", "zeros (decentering is not supported)", text)


def read_tka(path: Path) -> TsaiCamera:
    """Read a `.tka` file, value for value.

    Raises:
        BadInputError: if a line is missing, out of order or not a number, R is no rotation, the name inside is not
            the file's, or decentering is not zero; names the line and the field.
        StoreError: if the disk would not give it.
    """
    lines = _Lines(path, _read_text(path))
    rotation = _rotation(path, lines)
    centre = (lines.one("%X"), lines.one("%Y"), lines.one("%Z"))
    focal = lines.one("%f", positive=True)
    radial = (lines.one("%K"), lines.one("%K2"))
    scale = lines.one("%S", positive=True)
    pixel_size = (lines.one("%x", positive=True), lines.one("%y", positive=True))
    principal = (lines.one("%a"), lines.one("%b"))
    image_size = _image_size(lines)
    skew = lines.one("%c")
    name = _raw_name(path, lines)
    for label in _REPEATS:
        lines.labelled(label)
    _no_decentering(lines)
    lines.finish()
    try:
        return TsaiCamera(
            raw_name=name,
            rotation=rotation,
            centre_mm=centre,
            focal_mm=focal,
            radial_k=radial[0],
            radial_k2=radial[1],
            scale=scale,
            pixel_size_mm=pixel_size,
            principal_point_px=principal,
            image_size_px=image_size,
            skew=skew,
        )
    except ValidationError as error:  # a value the reader let through and the model does not
        first = error.errors()[0]
        raise BadInputError(path, field=str(first["loc"]), expected=first["msg"], found=first["input"]) from None


def _number(value: float) -> str:
    """The shortest text that reads back as the same number, as the rig prints whole numbers: 25, -0."""
    return repr(float(value)).removesuffix(".0")


def _fixed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text if float(text) == value else repr(float(value))


def format_tka(camera: TsaiCamera) -> str:
    """The camera as the text of a `.tka` file: the rig's layout, CRLF; every number reads back unchanged."""
    x, y, z = (_number(value) for value in camera.centre_mm)
    focal, k, k2 = _number(camera.focal_mm), _number(camera.radial_k), _number(camera.radial_k2)
    pitch_x, pitch_y = (_number(value) for value in camera.pixel_size_mm)
    a, b = (_number(value) for value in camera.principal_point_px)
    width, height = camera.image_size_px
    lines = [
        "%M",
        *("".join(f"{_number(value)} " for value in row) for row in camera.rotation),
        f"%X {x}",
        f"%Y {y}",
        f"%Z {z}",
        f"%f {focal}",
        f"%K {k}",
        f"%K2 {k2}",
        f"%S {float(camera.scale)!r}",
        f"%x {pitch_x}",
        f"%y {pitch_y}",
        f"%a {a}",
        f"%b {b}",
        f"%is {width} {height}",
        f"%c {_fixed(camera.skew, 8)}",
        f"Camera type = {camera.raw_name}",
        f"Focal length = {focal}",
        f"Position X({x}) Y({y}) Z({z})",
        f"Num of Pixels in image = X({width}) Y({height})",
        f"Effective pixel size = X({pitch_x}) Y({pitch_y})",
        f"Principal point = X({a}) Y({b})",
        f"Radial distortion = K1({k})",
        f"Second Order Radial distortion = K2({k2})",
        "Decentering distortion coeffs = P1(0.000000000), P2(0.000000000)",
    ]
    return "".join(f"{line}\r\n" for line in lines)
