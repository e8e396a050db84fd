"""One capture of a simulated session: rendered, scanned, labelled, and written whole or not at all.

    raw/<subject>/<gesture>/…         what the rig delivers
    truth/<subject>/<gesture>/…       what is true of it (see `truth`)

Everything random is seeded by person, gesture and camera, so a capture is the same whenever and wherever it is made.
"""

import functools
import shutil
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field

from palm_data.camera.tsai import project_tsai
from palm_data.simulate.annotations import Label, human_label, is_labelled
from palm_data.simulate.gestures import GESTURES
from palm_data.simulate.hand import CapturedHand, pose_captured_hand
from palm_data.simulate.image_files import write_jpeg, write_png
from palm_data.simulate.options import SimulateOptions
from palm_data.simulate.render import RenderSurface, Studio, joined_surface
from palm_data.simulate.rig import SimulatedRig, is_colour, make_rig
from palm_data.simulate.scan import ScanKind, SimulatedScan, make_scan
from palm_data.simulate.scan_files import ScanFormat, pieces_of, working_volume, write_scan
from palm_data.simulate.seeds import Stream, generator, render_seed
from palm_data.simulate.sensor import colour_image, mono_image
from palm_data.simulate.skin import SkinTextures
from palm_data.simulate.subject import SimulatedSubject, make_subject
from palm_data.simulate.truth import CaptureTruth, Labels, as_stored, write_arrays
from palm_data.store.atomic import flush_tree
from schemas.camera import TsaiCamera
from schemas.errors import GeometryError

MILLIMETRE_SUBJECT = 2
"""This person's scans come in millimetres; the others' in metres."""
JPEG_SUBJECT = 3
"""This person's colour images are JPEG."""
_FUSED = ("pinch", "fist", "flat")
_PLATE_SPP = (4, 24)
_PLATE_BLUR_PX = 1.0
_PLATE_LIMIT = 0.15
"""Radiance; the cloth gives a third of it at most, so a brighter path is a stray one."""
_MARGIN_PX = 1
_TEXTURE_SIZES = ((0.2, 1024), (0.6, 2048), (1.0, 4096))


class Shot(BaseModel):
    """One capture to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Annotated[int, Field(ge=1, description="The person's number.")]
    gesture: Annotated[int, Field(ge=0, description="Row of the protocol's gestures.")]

    @property
    def subject_id(self) -> str:
        """Four digits."""
        return f"{self.subject:04d}"

    @property
    def gesture_name(self) -> str:
        """The gesture's slug."""
        return GESTURES[self.gesture].name

    @property
    def raw_frame(self) -> int:
        """The rig's own frame number: it counts on through a visit, with gaps."""
        return 100 * self.subject + 7 * (self.gesture + 1)

    @property
    def stem(self) -> str:
        """What the capture's files are called, before camera and ending."""
        return f"{self.gesture_name}.{self.raw_frame:06d}"

    @property
    def folder(self) -> str:
        """Where it lies below raw and truth."""
        return f"{self.subject_id}/{self.gesture_name}"


def is_shot(out: Path, shot: Shot) -> bool:
    """Whether the capture is finished: its raw folder is put into place last."""
    return (out / "raw" / shot.folder).is_dir()


def shoot(out: Path, shot: Shot, options: SimulateOptions, threads: int) -> None:
    """Make a capture, unless it is there already."""
    if is_shot(out, shot):
        return
    partial = out / "partial" / f"{shot.subject_id}.{shot.gesture_name}"
    shutil.rmtree(partial, ignore_errors=True)
    raw, truth = partial / "raw", partial / "truth"
    for folder in (raw, truth):
        folder.mkdir(parents=True)
    _Maker(shot, options, threads).make(raw, truth, plates=out / "partial" / "plates")
    flush_tree(partial)
    for source, place in ((truth, out / "truth"), (raw, out / "raw")):
        final = place / shot.folder
        shutil.rmtree(final, ignore_errors=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        source.rename(final)
    shutil.rmtree(partial)


@functools.cache
def rig_and_studio(seed: int, scale: float, threads: int) -> tuple[SimulatedRig, Studio]:
    """The rig and its studio, built once in a process."""
    rig = make_rig(seed, scale)
    return rig, Studio(rig, threads)


@functools.lru_cache(maxsize=1)
def person(seed: int, number: int, scale: float) -> tuple[SimulatedSubject, SkinTextures]:
    """A person and their skin, with textures fine enough for images of a scale."""
    subject = make_subject(seed, number)
    size = next(texels for limit, texels in _TEXTURE_SIZES if scale <= limit)
    return subject, as_stored(subject.textures(size))


def plate_file(plates: Path, camera: TsaiCamera) -> Path:
    """Where a camera's view of the empty studio is kept."""
    return plates / f"{camera.raw_name}.npy"


def plate_spp(options: SimulateOptions) -> int:
    """Light paths a pixel of the empty studio: it is dim and smooth, and needs no more than so many."""
    fewest, most = _PLATE_SPP
    return min(max(options.rgb_spp, fewest), most)


def empty_plate(studio: Studio, camera: TsaiCamera, number: int, options: SimulateOptions) -> Float[ndarray, "h w 3"]:
    """A camera's view of the empty studio, radiance; the cloth has nothing on it that smoothing could take away."""
    width, height = camera.image_size_px
    seed = render_seed(options.seed, Stream.PLATE, number)
    pixels = np.arange(width * height)
    radiance = studio.radiance(studio.empty(), camera, pixels, spp=plate_spp(options), seed=seed, limit=_PLATE_LIMIT)
    smooth: ndarray = cv2.GaussianBlur(radiance.reshape(height, width, 3), (0, 0), _PLATE_BLUR_PX)
    return smooth


class _Maker:
    """The parts of one capture."""

    def __init__(self, shot: Shot, options: SimulateOptions, threads: int) -> None:
        self._shot, self._options = shot, options
        self._rig, self._studio = rig_and_studio(options.seed, options.scale, threads)
        subject, self._textures = person(options.seed, shot.subject, options.scale)
        self._hand: CapturedHand = pose_captured_hand(subject, GESTURES[shot.gesture])
        hand = self._hand
        self._surface: RenderSurface = joined_surface(hand.vertices, hand.normals, hand.faces, hand.uv, hand.uv_faces)

    @property
    def _place(self) -> tuple[int, int]:
        return self._shot.subject, self._shot.gesture

    def make(self, raw: Path, truth: Path, *, plates: Path) -> None:
        """Write what the rig delivers, and what is true of it."""
        histogram, labels = self._images(raw, truth, plates)
        scan, kind = self._scan(raw)
        self._write_surface(truth)
        (truth / "labels.json").write_text(labels.model_dump_json() + "\n")
        record = CaptureTruth(
            subject_id=self._shot.subject_id,
            gesture=self._shot.gesture_name,
            raw_frame=self._shot.raw_frame,
            scan_format=self._scan_format,
            scan_unit="mm" if self._shot.subject == MILLIMETRE_SUBJECT else "m",
            scan_kind=kind.value,
            scan_faces=len(scan.faces),
            scan_boundary_share=scan.boundary_share(),
            scan_pieces=pieces_of(scan),
            foreground_histogram=tuple(histogram.tolist()),
        )
        (truth / "capture.json").write_text(record.model_dump_json(indent=1) + "\n")

    def _images(self, raw: Path, truth: Path, plates: Path) -> tuple[ndarray, Labels]:
        """Write every camera's image and the colour cameras' true masks.

        Returns:
            How often each colour value occurs inside the masks, and the labels.
        """
        scene, only = self._studio.with_hand(self._surface, self._textures), self._studio.only_hand(self._surface)
        histogram = np.zeros(256, dtype=np.int64)
        labels: dict[bool, list[Label]] = {True: [], False: []}
        for number, camera in enumerate(self._rig.cameras):
            colour = is_colour(camera)
            if not colour and not self._options.mono:
                continue
            mask = self._studio.silhouette(only, camera)
            image = self._photograph(scene, number, mask, plates)
            name = f"{self._shot.stem}.{camera.raw_name}"
            if colour and self._shot.subject == JPEG_SUBJECT:
                name = f"{name}.jpg"
                write_jpeg(raw / name, image)
            else:
                name = f"{name}.png"
                write_png(raw / name, image)
            if colour:
                write_png(truth / f"{camera.raw_name}.png", mask.astype(np.uint8) * 255)
                histogram += np.bincount(image[mask].ravel(), minlength=256)
            if is_labelled(self._options.seed, (*self._place, number), colour=colour):
                labels[colour].append(self._label(only, number, f"{self._shot.folder}/{name}"))
        return histogram, Labels(colour=tuple(labels[True]), mono=tuple(labels[False]))

    def _photograph(self, scene: Any, number: int, mask: Bool[ndarray, "h w"], plates: Path) -> UInt8[ndarray, "..."]:
        """The hand and its edge traced; behind it the empty studio, which a hand a metre away leaves as it is."""
        options, camera = self._options, self._rig.cameras[number]
        radiance = np.load(plate_file(plates, camera), allow_pickle=False)
        margin = _MARGIN_PX + round(3 * options.scale)
        near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0
        spp = options.rgb_spp if is_colour(camera) else options.mono_spp
        seed = render_seed(options.seed, Stream.RENDER, *self._place, number)
        radiance[near] = self._studio.radiance(
            scene, camera, np.flatnonzero(near), spp=spp, seed=seed, backdrop=radiance[near]
        )
        develop = colour_image if is_colour(camera) else mono_image
        return develop(radiance, generator(options.seed, Stream.SENSOR, *self._place, number))

    def _label(self, only: Any, number: int, file_name: str) -> Label:
        camera, hand = self._rig.cameras[number], self._hand
        return human_label(
            project_tsai(camera, hand.joints),
            self._studio.depth_before(only, camera, hand.joints),
            project_tsai(camera, hand.vertices[hand.is_hand]),
            generator(self._options.seed, Stream.LABEL_NOISE, *self._place, number),
            file_name=file_name,
            size_px=camera.image_size_px,
        )

    @property
    def _scan_format(self) -> ScanFormat:
        return "obj" if self._shot.subject % 2 else "ply"

    def _scan(self, raw: Path) -> tuple[SimulatedScan, ScanKind]:
        """Write the scan, in one of the formats and units that rigs deliver."""
        eyes = np.array([camera.centre_mm for camera in self._rig.cameras if not is_colour(camera)]) / 1000.0
        kind = ScanKind.FUSED if self._is_fused() else ScanKind.PLAIN
        try:
            scan = self._scanned(kind, eyes)
        except GeometryError:  # this person keeps the fingers apart
            kind = ScanKind.PLAIN
            scan = self._scanned(kind, eyes)
        scan = working_volume(scan, self._rig)
        units = 1000.0 if self._shot.subject == MILLIMETRE_SUBJECT else 1.0
        write_scan(raw / self._shot.stem, scan, self._scan_format, units_per_metre=units)
        return scan, kind

    def _scanned(self, kind: ScanKind, eyes: Float[ndarray, "eyes 3"]) -> SimulatedScan:
        rng = generator(self._options.seed, Stream.SCAN, *self._place)
        return make_scan(self._hand, self._textures, rng, kind=kind, eyes=eyes)

    def _is_fused(self) -> bool:
        """One capture of a session has two fingers grown together in its scan."""
        names = [spec.name for spec in GESTURES[: self._options.gestures]]
        chosen = next((name for name in _FUSED if name in names), names[0])
        return self._shot.subject == min(2, self._options.subjects) and self._shot.gesture_name == chosen

    def _write_surface(self, truth: Path) -> None:
        hand = self._hand
        write_arrays(
            truth / "surface.npz",
            {
                "vertices": hand.vertices,
                "faces": hand.faces.astype(np.int32),
                "uv": hand.uv.astype(np.float32),
                "uv_faces": hand.uv_faces.astype(np.int32),
                "part": hand.part.astype(np.uint8),
                "joints": hand.joints,
                "betas": hand.betas,
                "hand_pose": hand.hand_pose,
                "model_vertex_count": np.array(hand.model_vertex_count),
            },
        )
