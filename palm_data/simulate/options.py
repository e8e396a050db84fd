"""What may be chosen about a simulated session. Two sessions with equal options are equal byte for byte."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.store.atomic import write_bytes
from schemas.errors import SettingsError

OPTIONS_FILE = "truth/options.json"
_HINT = "Choose another folder, or remove this one to start over."


class SimulateOptions(BaseModel):
    """The whole of a session's settings; everything else follows from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subjects: Annotated[int, Field(ge=1, le=500, description="People.")] = 4
    gestures: Annotated[int, Field(ge=1, le=60, description="Gestures each of them holds.")] = 5
    scale: Annotated[float, Field(ge=0.01, le=1.0, description="Image side as a share of 2448×2048.")] = 0.125
    seed: Annotated[int, Field(ge=0, lt=2**31, description="Everything random follows from it.")] = 7
    rgb_spp: Annotated[int, Field(ge=1, le=8192, description="Light paths a pixel of the hand, colour cameras.")] = 128
    mono_spp: Annotated[int, Field(ge=1, le=8192, description="The same for mono cameras.")] = 32
    mono: Annotated[bool, Field(description="Whether the mono cameras take images.")] = True
    faults: Annotated[
        bool, Field(description="Whether people with faulty files are added; everybody else's are the same without.")
    ] = False


def claim_folder(out: Path, options: SimulateOptions) -> None:
    """Mark a folder as the home of the session with these options, or find that it is already.

    Faults may be added to a session that was begun without, and stay.

    Raises:
        SettingsError: if the folder holds something else, or a session with other options; says which differ.
    """
    path = out / OPTIONS_FILE
    try:
        found = SimulateOptions.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        if out.exists() and (not out.is_dir() or any(out.joinpath(name).exists() for name in ("raw", "truth"))):
            raise SettingsError(
                f"{out}: expected an empty or new folder, or one begun by an earlier simulation; "
                f"found raw or truth without {OPTIONS_FILE}. {_HINT}"
            ) from None
        write_bytes(path, options.model_dump_json(indent=1).encode() + b"\n")
        return
    except ValidationError as error:
        raise SettingsError(
            f"{path}: expected the options of an earlier simulation, found {error.error_count()} errors. {_HINT}"
        ) from None
    if options.faults and found == options.model_copy(update={"faults": False}):
        write_bytes(path, options.model_dump_json(indent=1).encode() + b"\n")
    elif found != options:
        before, now = found.model_dump(), options.model_dump()
        changes = ", ".join(f"{name} {before[name]} → {now[name]}" for name in before if before[name] != now[name])
        raise SettingsError(f"{out}: begun with other options ({changes}). {_HINT}")
