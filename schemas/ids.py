"""Identifiers: what a subject, a gesture, a camera, a calibration and a version are called.

The rig names its cameras `NN_A`, `NN_B` (mono stereo pair) and `NN_C` (colour) for pod NN. We call the colour
cameras `MCU_NN`, as the official PALM release does, and the mono cameras `MCU_NN_A` and `MCU_NN_B`. Cameras of an
imported InterHand2.6M keep their six digits: `IH_400262`.
"""

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.errors import BadInputError

SubjectId = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}$"), Field(description="Number of a person: four digits, as text.")
]
Slug = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", max_length=64),
    Field(description="Name of a gesture: small letters, digits, underscores."),
]
CameraId = Annotated[
    str,
    StringConstraints(pattern=r"^(MCU_[0-9]{2}(_[AB])?|IH_[0-9]{6})$"),
    Field(
        description="Name of a camera: MCU_NN for the colour one of pod NN, MCU_NN_A and MCU_NN_B for its mono ones; "
        "IH_NNNNNN for one of InterHand2.6M."
    ),
]
CalibrationId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    Field(description="Name of the calibration of the rig."),
]
Sha256 = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(description="SHA-256 of the content, hexadecimal.")
]
VersionId = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$"),
    Field(description="MAJOR.MINOR.PATCH."),
]

_RAW_CAMERA = re.compile(r"([0-9]{2})_([ABC])")
_CAMERA = re.compile(r"MCU_([0-9]{2})(?:_([AB]))?")
_FOREIGN_CAMERA = re.compile(r"IH_[0-9]{6}")


def camera_id_from_raw(raw_name: str) -> CameraId:
    """Our id of the camera that the rig calls `NN_A`, `NN_B` or `NN_C`.

    Raises:
        BadInputError: if the name is none of those.
    """
    match = _RAW_CAMERA.fullmatch(raw_name)
    if match is None:
        raise BadInputError(raw_name, field="camera name", expected="NN_A, NN_B or NN_C", found=raw_name)
    pod, letter = match.groups()
    return f"MCU_{pod}" if letter == "C" else f"MCU_{pod}_{letter}"


def raw_from_camera_id(camera_id: CameraId) -> str:
    """The rig's name (`NN_A`, `NN_B`, `NN_C`) of our camera.

    Raises:
        BadInputError: if it is not a camera id.
    """
    match = _CAMERA.fullmatch(camera_id)
    if match is None:
        raise BadInputError(camera_id, field="camera_id", expected="MCU_NN, MCU_NN_A or MCU_NN_B", found=camera_id)
    pod, letter = match.groups()
    return f"{pod}_{letter or 'C'}"


def is_colour_camera(camera_id: CameraId) -> bool:
    """Whether the camera is one of the colour cameras (`MCU_NN`, and all imported ones), not a mono one."""
    match = _CAMERA.fullmatch(camera_id)
    return match.group(2) is None if match is not None else _FOREIGN_CAMERA.fullmatch(camera_id) is not None
