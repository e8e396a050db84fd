"""A camera at a smaller resolution tier.

Integer pixel coordinates are pixel corners, so pixel (x, y) of the half tier covers [2x, 2x + 2) × [2y, 2y + 2) of the
full image, and K is exactly half of K: no half pixel is lost.
"""

from schemas.camera import Camera
from schemas.tier import FACTORS, FULL, Tier, tier_length


def camera_at(camera: Camera, tier: Tier) -> Camera:
    """The camera of the tier's image: K divided by the tier's factor, size rounded up, all else the same."""
    if tier == FULL:
        return camera
    factor = FACTORS[tier]
    scaled = {name: getattr(camera, name) / factor for name in ("fx", "fy", "cx", "cy")}
    size = {"width": tier_length(camera.width, tier), "height": tier_length(camera.height, tier)}
    return camera.model_copy(update={**scaled, **size})
