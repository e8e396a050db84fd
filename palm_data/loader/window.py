"""A rectangle of whole pixels in an image, and what it does to the camera."""

from typing import NamedTuple

from schemas.camera import Camera
from schemas.errors import StoreError


class Window(NamedTuple):
    """A rectangle of whole pixels; its upper left pixel is (x, y)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an image."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def moved(self, x: int, y: int) -> "Window":
        """The same rectangle, counted from a point that lies at (−x, −y) of the present one."""
        return Window(self.x + x, self.y + y, self.width, self.height)

    def check_inside(self, width: int, height: int) -> None:
        """Hold the rectangle to an image's size.

        Raises:
            StoreError: if it is empty, or a part of it lies outside.
        """
        inside = 0 <= self.x <= width - self.width and 0 <= self.y <= height - self.height
        if not inside or self.width < 1 or self.height < 1:
            raise StoreError(f"window: expected one inside an image of {width}×{height}, found {tuple(self)}.")


def windowed(camera: Camera, window: Window) -> Camera:
    """The camera that sees only the window: same pose and focal lengths, its principal point counted from the window."""
    return camera.model_copy(
        update={
            "width": window.width,
            "height": window.height,
            "cx": camera.cx - window.x,
            "cy": camera.cy - window.y,
        }
    )
