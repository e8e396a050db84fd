"""What the captures of a session share: the empty studio, the chrome ball, the light, and each person's own truth."""

import io
import shutil
import time
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.simulate.chrome_ball import ball_files, photograph_ball
from palm_data.simulate.gestures import GESTURES
from palm_data.simulate.hand import pose_captured_hand
from palm_data.simulate.options import SimulateOptions
from palm_data.simulate.oracle import fit_oracle
from palm_data.simulate.render import joined_surface
from palm_data.simulate.rig import CALIBRATION_ID, is_colour
from palm_data.simulate.seeds import Stream, generator, render_seed
from palm_data.simulate.sensor import colour_image, mono_image
from palm_data.simulate.shoot import empty_plate, person, plate_file, rig_and_studio
from palm_data.simulate.skin import SkinTextures
from palm_data.simulate.subject import make_subject
from palm_data.simulate.truth import PersonTruth, write_arrays, write_textures
from palm_data.store.atomic import flush_tree, replacing, write_bytes

_ENVIRONMENT_HEIGHT = 256
_ENVIRONMENT_SPP = 36
_TRIAL_PIXELS, _TRIAL_SPP = 4000, 36


def _ball_folder(out: Path) -> Path:
    return out / "raw" / "calibrations" / CALIBRATION_ID / "chrome_ball"


def plates_done(out: Path, options: SimulateOptions, pod: int, *, needed: bool) -> bool:
    """Whether a pod's pictures of the ball, and of the empty studio where these are needed, are there."""
    plates = [out / "partial" / "plates" / f"{pod:02d}_{letter}.npy" for letter in ("ABC" if options.mono else "C")]
    wanted = [*ball_files(_ball_folder(out), f"{pod:02d}_C"), *(plates if needed else [])]
    return all(path.exists() for path in wanted)


def make_plates(out: Path, options: SimulateOptions, pod: int, threads: int) -> None:
    """Render what a pod's cameras see of the empty studio, and its colour camera of the chrome ball."""
    rig, studio = rig_and_studio(options.seed, options.scale, threads)
    for number, camera in enumerate(rig.cameras):
        if not camera.raw_name.startswith(f"{pod:02d}_"):
            continue
        if not is_colour(camera) and not options.mono:
            continue
        plate = empty_plate(studio, camera, number, options)
        buffer = io.BytesIO()
        np.save(buffer, plate, allow_pickle=False)
        write_bytes(plate_file(out / "partial" / "plates", camera), buffer.getvalue())
        if is_colour(camera):
            photograph_ball(studio, camera, plate, seed=(options.seed, number), folder=_ball_folder(out))


def photograph_nobody(options: SimulateOptions, raw_name: str, threads: int) -> UInt8[ndarray, "h w ..."]:
    """What a camera delivers of the studio while nobody is in it."""
    rig, studio = rig_and_studio(options.seed, options.scale, threads)
    number = next(row for row, camera in enumerate(rig.cameras) if camera.raw_name == raw_name)
    camera = rig.cameras[number]
    develop = colour_image if is_colour(camera) else mono_image
    return develop(empty_plate(studio, camera, number, options), generator(options.seed, Stream.FAULTS, number))


def environment_done(out: Path) -> bool:
    """Whether the true environment map is there."""
    return (out / "truth" / "environment.exr").exists()


def make_environment(out: Path, options: SimulateOptions, threads: int) -> None:
    """Write what the hand is lit by: radiance from every direction, as the origin sees it."""
    _, studio = rig_and_studio(options.seed, options.scale, threads)
    seed = render_seed(options.seed, Stream.PLATE, 0)
    light = studio.surroundings(studio.light(), _ENVIRONMENT_HEIGHT, spp=_ENVIRONMENT_SPP, seed=seed)
    with replacing(out / "truth" / "environment.exr") as partial:
        studio.write_exr(partial, light)


def person_done(out: Path, number: int) -> bool:
    """Whether a person's truth is there: its last file is."""
    return (out / "truth" / f"{number:04d}" / "person.json").exists()


def make_person(out: Path, options: SimulateOptions, number: int) -> None:
    """Write a person's skin, measures, and the best fit of the hand model to all their captures."""
    subject, textures = person(options.seed, number, options.scale)
    specs = GESTURES[: options.gestures]
    fits = fit_oracle(subject, [pose_captured_hand(subject, spec) for spec in specs])
    partial, final = out / "partial" / f"{number:04d}", out / "truth" / f"{number:04d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_textures(partial, textures)
    rows = ("betas", "global_orient", "hand_pose", "transl", "vertices", "model_to_surface_mm")
    arrays = {name: np.stack([getattr(fit, name) for fit in fits]) for name in rows}
    write_arrays(partial / "oracle.npz", {**arrays, "gestures": np.array([spec.name for spec in specs])})
    record = PersonTruth(
        subject=subject.row,
        stature_mm=subject.person.stature_mm,
        hand_length_mm=subject.person.hand_length_mm,
        betas=tuple(subject.betas.tolist()),
        oracle_betas=tuple(fits[0].betas.tolist()),
        oracle_model_to_surface_mm_mean={
            spec.name: fit.model_to_surface_mm_mean for spec, fit in zip(specs, fits, strict=True)
        },
    )
    (partial / "person.json").write_text(record.model_dump_json(indent=1) + "\n")
    flush_tree(partial)
    final.mkdir(parents=True, exist_ok=True)
    # The captures' folders live there too, so files move one by one; the record that says "done" goes last.
    for path in sorted(partial.iterdir(), key=lambda path: path.name == "person.json"):
        path.replace(final / path.name)
    partial.rmdir()


def measure_path_seconds(options: SimulateOptions, threads: int) -> float:
    """CPU time that a light path to a hand takes on this machine, seconds, from a short rendering."""
    rig, studio = rig_and_studio(options.seed, options.scale, threads)
    hand = pose_captured_hand(make_subject(options.seed, 1), GESTURES[0])
    surface = joined_surface(hand.vertices, hand.normals, hand.faces, hand.uv, hand.uv_faces)
    plain = np.full((4, 4), 0.4, np.float32)
    scene = studio.with_hand(surface, SkinTextures(np.repeat(plain[..., None], 3, axis=2), plain, plain))
    camera = rig.camera("02_C")
    pixels = np.flatnonzero(studio.silhouette(studio.only_hand(surface), camera))
    pixels = pixels[:: max(len(pixels) // _TRIAL_PIXELS, 1)]
    studio.radiance(scene, camera, pixels, spp=_TRIAL_SPP, seed=1)  # compiles
    start = time.process_time()
    studio.radiance(scene, camera, pixels, spp=_TRIAL_SPP, seed=1)
    return (time.process_time() - start) / (len(pixels) * _TRIAL_SPP)
