"""A small release to train a prior on: posed hands of the shipped model, coloured, as three cameras see them."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open3d as o3d
import pytest
import torch
from scipy.spatial.transform import Rotation

from palm_data.colour import srgb_from_linear
from palm_data.hand.layer import HandLayer
from palm_data.hand.model import load_hand_model
from palm_data.store import contents
from palm_data.store.release import publish_release
from palm_data.testing import tiny, tiny_labels
from palm_data.testing.tiny import Tiny, tiny_workspace
from schemas.camera import Camera
from schemas.hand import HandRow
from schemas.settings import without_labels

MODEL = load_hand_model()
HEIGHT, WIDTH = 60, 44
"""All images stand upright."""
PEOPLE = ("0001", "0002", "0003")
UNFITTED = tiny_labels.UNFITTED
VIEWS = 13
"""Seen, of fitted captures: three people, two captures, three cameras, without two images of 0001 and 0003 that the rig
lacks and the three of the capture that was not fitted."""
_FACES_RGB = np.array([[0.75, 0.45, 0.35], [0.35, 0.22, 0.16], [0.55, 0.36, 0.28]])


class Seen(NamedTuple):
    """What cameras see of one capture, as a release stores it."""

    rgb: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    normal: np.ndarray


def camera(number: int, camera_id: str) -> Camera:
    """About 0.45 m from the origin, each from another side; the last one is turned by a quarter."""
    turn = Rotation.from_euler("YXZ", (50.0 * number - 20.0, 15.0 * number, 90.0 * (number == 2)), degrees=True)
    return Camera(
        camera_id=camera_id, calibration_id=tiny.CALIBRATION, width=WIDTH, height=HEIGHT, fx=104.0 + number, fy=103.0,
        cx=21.25, cy=31.5, rotation=tuple(map(tuple, turn.as_matrix().tolist())), translation=(0.004 * number, 0.0, 0.45),
    )  # fmt: skip


def hand_row(subject_id: str, frame: int) -> HandRow:
    """One shape a person; the hand's middle is near the origin."""
    person, pose = np.random.default_rng(int(subject_id)), np.random.default_rng([int(subject_id), frame])
    row = tiny_labels.hand_row(subject_id, frame)
    told = {
        "betas": tuple(person.normal(0, 0.7, 10).tolist()),
        "global_orient": tuple(pose.normal(0, 0.15, 3).tolist()),
        "hand_pose": tuple(pose.normal(0, 0.1, 45).tolist()),
        "transl": (0.0, 0.0, 0.0),
    }
    middle = _vertices(told).mean(axis=0)
    return HandRow.model_validate({**row.model_dump(), **told, "transl": tuple((-middle).tolist())})


def published(root: Path) -> Tiny:
    """0.1.0 holds captures only, 0.2.0 labels too."""
    labels = tiny_labels.tiny_labels

    def made_labels(subject_id: str, *args: object, **options: object) -> tiny_labels.TinyLabels:
        made = labels(subject_id, *args, **options)  # type: ignore[arg-type]
        hands = [hand_row(one.subject_id, one.frame) for one in made.hands]
        for frame in (1, 2):
            seen = (_seen(subject_id, frame).mask if (subject_id, frame) != UNFITTED else 0) * np.ones(1, np.uint8)
            made.hand_mask[frame - 1] = made.training_mask[frame - 1] = seen
        return tiny_labels.TinyLabels(
            made.keypoints_2d, made.keypoints_3d, hands, made.quality, made.hand_mask, made.training_mask
        )

    whose = iter(PEOPLE)

    def arrays(captures: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        subject_id, others = next(whose), plain(captures, rng)
        seen = [_seen(subject_id, frame) for frame in (1, 2)]
        return {**others, **{name: np.stack([getattr(one, name) for one in seen]) for name in Seen._fields}}

    plain = tiny._arrays
    with pytest.MonkeyPatch.context() as patch:
        for module in (tiny, tiny_labels):
            patch.setattr(module, "WIDTH", WIDTH)
            patch.setattr(module, "HEIGHT", HEIGHT)
            patch.setattr(module, "TILE", 64)
        patch.setattr(contents, "paper_entries", lambda *_, **__: [])  # nobody reads them here
        patch.setattr(tiny, "_camera", camera)
        patch.setattr(tiny, "_arrays", arrays)
        patch.setattr(tiny, "tiny_labels", made_labels)
        patch.setattr(tiny_labels, "tiny_labels", made_labels)
        patch.setattr(tiny_labels, "convention", lambda **_: MODEL.convention())
        made = tiny_workspace(root, PEOPLE)
        publish_release("0.1.0", made.workspace, without_labels(made.settings))
        publish_release("0.2.0", made.workspace, made.settings)
    return made


def _vertices(told: dict[str, tuple[float, ...]]) -> np.ndarray:
    values = [torch.tensor([told[name]]) for name in ("global_orient", "hand_pose", "betas", "transl")]
    with torch.no_grad():
        vertices: np.ndarray = HandLayer(MODEL)(*values).vertices[0].numpy()
    return vertices


@functools.cache
def _seen(subject_id: str, frame: int) -> Seen:
    views = [_view(camera(number, name), subject_id, frame) for number, name in enumerate(tiny_labels.CAMERAS)]
    return Seen(*(np.stack(one) for one in zip(*views, strict=True)))


@functools.cache
def _scene(subject_id: str, frame: int) -> tuple[o3d.t.geometry.RaycastingScene, np.ndarray]:
    row = hand_row(subject_id, frame)
    vertices = _vertices({name: getattr(row, name) for name in ("global_orient", "hand_pose", "betas", "transl")})
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(vertices.astype(np.float32), MODEL.faces.astype(np.uint32))
    place = MODEL.v_template[MODEL.faces].mean(axis=1)
    return scene, (place - place.mean(axis=0)) / place.std(axis=0)


def _view(seen_by: Camera, subject_id: str, frame: int) -> Seen:
    scene, place = _scene(subject_id, frame)
    rotation = np.asarray(seen_by.rotation)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = np.stack([(x - seen_by.cx) / seen_by.fx, (y - seen_by.cy) / seen_by.fy, np.ones_like(x)], axis=-1)
    origins = np.broadcast_to(seen_by.centre(), inside.shape)
    cast = scene.cast_rays(np.concatenate([origins, inside @ rotation], axis=-1).astype(np.float32))
    depth = cast["t_hit"].numpy()  # directions have length one along z
    hit = np.isfinite(depth)
    normal = cast["primitive_normals"].numpy() @ rotation.T
    normal *= np.where((normal * inside).sum(-1, keepdims=True) > 0, -1.0, 1.0)
    face = np.where(hit, cast["primitive_ids"].numpy().astype(np.int64), 0)
    stripes = 0.7 + 0.3 * np.sin(3.0 * place[face])
    linear = _FACES_RGB[int(subject_id) - 1] * stripes * (0.4 - 0.6 * normal[..., 2:])
    backdrop = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    rgb = np.where(hit[..., None], np.rint(255 * srgb_from_linear(linear)), backdrop).astype(np.uint8)
    return Seen(
        rgb=rgb,
        mask=hit.astype(np.uint8) * np.uint8(255),
        depth=np.where(hit, np.rint(np.where(hit, depth, 0) / 5e-5), 0).astype(np.uint16),
        normal=np.where(hit[..., None], np.rint(normal * 32767), 0).astype(np.int16),
    )
