"""Pictures of avatars: beside their photographs, and in another light."""

import math
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.colour import srgb_from_linear
from palm_data.report.pictures import contact_sheet, normals_to_rgb, write_png
from palm_model.avatar.avatar import Avatar, HandPoses
from palm_model.avatar.environment import NAMED
from palm_model.avatar.photo import Photo
from palm_model.prior.light import EnvironmentLight
from schemas.camera import Camera
from schemas.errors import SettingsError

_ERROR_GAIN = 3.0
_TILE_PX = 320
_COLUMNS = 4
_FRAMES_A_SECOND = 10.0


def avatar_picture(avatar: Avatar, photo: Photo, row: int = 0) -> UInt8[ndarray, "height width 3"]:
    """A photograph, the avatar fitted to it, their difference, normals and, with a light, albedo and two environments."""
    poses = avatar.posed(avatar.photographed.row(row))
    view = avatar.view(photo.camera, poses)
    shown = np.where(photo.mask[..., None], photo.rgb, 0)
    score = photo_psnr(view.rgb, photo)
    tiles = {
        "photo": shown,
        f"fitted: {score:.1f} dB": as_uint8(view.rgb),
        f"error x{_ERROR_GAIN:.0f}": as_uint8(_ERROR_GAIN * np.abs(view.rgb - shown / 255.0)),
        "normal": normals_to_rgb(view.normal @ np.asarray(photo.camera.rotation).T),
    }
    if avatar.card.light:
        assert view.pbr_rgb is not None  # noqa: S101 - it has a light
        assert view.albedo is not None  # noqa: S101
        tiles[f"shaded: {photo_psnr(view.pbr_rgb, photo):.1f} dB"] = as_uint8(view.pbr_rgb)
        tiles["albedo"] = as_uint8(srgb_from_linear(view.albedo))
        for name, light in NAMED.items():
            lit = avatar.view(photo.camera, poses, light=light().to(avatar.betas.device))
            assert lit.pbr_rgb is not None  # noqa: S101
            tiles[name.replace("_", " ")] = as_uint8(lit.pbr_rgb)
    cropped = [_cropped(tile, photo) for tile in tiles.values()]
    return contact_sheet(cropped, list(tiles), _COLUMNS, tile_px=_TILE_PX)


def photo_psnr(rgb: Float[ndarray, "height width 3"], photo: Photo) -> float:
    """Of a picture against the photograph inside its mask, dB."""
    error = (rgb - photo.rgb / 255.0)[photo.mask]
    return -10.0 * math.log10(max(float((error**2).mean()), 1e-12))


def relight_views(
    avatar: Avatar, camera: Camera, poses: HandPoses, light: EnvironmentLight, folder: Path
) -> list[Path]:
    """Write the avatar in a light as numbered pictures on black, and as `motion.mp4` where there are several poses.

    Raises:
        SettingsError: if the prior was trained without the branch that shades.
    """
    written = []
    for number in range(len(poses)):
        view = avatar.view(camera, avatar.posed(poses.row(number)), light=light.to(avatar.betas.device))
        assert view.pbr_rgb is not None  # noqa: S101 - `view` has refused an avatar without a light
        path = folder / f"relit_{number + 1:06d}.png"
        write_png(path, as_uint8(view.pbr_rgb))
        written.append(path)
    if len(written) > 1:
        _write_film(folder / "motion.mp4", written)
    return written


def as_uint8(rgb: Float[ndarray, "height width 3"]) -> UInt8[ndarray, "height width 3"]:
    """SRGB from 0 to 1 as it is stored."""
    return np.rint(np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)


def _cropped(image: ndarray, photo: Photo) -> ndarray:
    """The part about the mask."""
    rows, columns = np.nonzero(photo.mask)
    margin = max(int(0.1 * max(np.ptp(rows), np.ptp(columns))), 2)
    top, left = max(rows.min() - margin, 0), max(columns.min() - margin, 0)
    return np.ascontiguousarray(image[top : rows.max() + margin + 1, left : columns.max() + margin + 1])


def _write_film(path: Path, pictures: list[Path]) -> None:
    """The pictures one after the other; sides are made even, as the codec wants them."""
    first = cv2.imread(str(pictures[0]))
    assert first is not None  # noqa: S101 - just written
    height, width = (side - side % 2 for side in first.shape[:2])
    partial = path.with_name(f".{path.name}.partial.mp4")
    writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), _FRAMES_A_SECOND, (width, height))
    if not writer.isOpened():
        raise SettingsError(f"{path}: expected OpenCV with an MP4 writer, found one without. The pictures are there.")
    try:
        for picture in pictures:
            frame = cv2.imread(str(picture))
            assert frame is not None  # noqa: S101
            writer.write(frame[:height, :width])
    finally:
        writer.release()
    partial.replace(path)
