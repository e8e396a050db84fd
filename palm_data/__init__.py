"""Raw capture → annotations → release; knows no orchestrator.

The public surface is `open_release`; everything else is imported from its own module. Importing the package loads
nothing: what a call needs is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palm_data.loader.release import open_release

__all__ = ["open_release"]


def __getattr__(name: str) -> object:
    if name == "open_release":
        from palm_data.loader.release import open_release

        return open_release
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
