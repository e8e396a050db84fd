import io
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from palm_data.hand.model import load_hand_model
from palm_data.loader.release import Release
from palm_data.maps.surface import vertex_normals
from palm_data.testing.tiny_labels import MISSING_JOINT, UNFITTED
from palm_data.view.cache import SceneCache
from palm_data.view.colours import NOT_COMPARED, distance_colours, legend
from palm_data.view.distances import measure_distances
from palm_data.view.figures import page_text
from palm_data.view.glb import coloured_glb, shrunk, textured_glb
from palm_data.view.scene import Scene, build_scene
from palm_data.view.selection import start
from schemas.errors import StoreError

MODEL = load_hand_model()


def read_glb(content: bytes) -> trimesh.Trimesh:
    scene = trimesh.load_scene(io.BytesIO(content), file_type="glb", process=False)
    (mesh,) = scene.geometry.values()
    return mesh


def test_a_scene_is_what_the_release_holds(release: Release) -> None:
    sample, scene = release.capture("0001", 1), build_scene(release, "0001", 1, MODEL)
    assert np.array_equal(scene.scan_vertices, sample.scan.vertices)
    assert sample.hand is not None
    assert scene.hand is not None
    assert np.array_equal(scene.hand.vertices, sample.hand.vertices(MODEL))
    assert scene.joints is not None
    assert np.isnan(scene.joints[MISSING_JOINT]).all()
    assert scene.quality == sample.quality
    assert scene.no_hand == ""
    for shown, view in zip(scene.cameras, sample.views, strict=True):
        camera = view.camera
        assert np.allclose(np.asarray(camera.rotation) @ shown.position + camera.translation, 0, atol=1e-12)
        assert np.tan(shown.fov_rad / 2) == pytest.approx(camera.height / 2 / camera.fy)
        assert (shown.image is not None) == view.present


def test_the_eye_looks_at_the_hand_from_the_cameras_side_with_up_upwards(release: Release) -> None:
    scene = build_scene(release, "0001", 1, MODEL)
    assert np.array_equal(scene.up, [0, -1, 0]), "the tiny cameras stand upright with y down"
    assert scene.hand is not None
    assert np.linalg.norm(scene.centre - scene.hand.vertices.mean(axis=0)) < 0.05
    towards = scene.eye - scene.centre
    assert 0.3 < np.linalg.norm(towards) < 0.8
    assert any(np.dot(towards, one.position - scene.centre) > 0 for one in scene.cameras)
    assert np.dot(scene.beside, np.cross(-towards, scene.up)) > 0, "to the right"


def test_a_capture_without_a_fit_shows_the_rest_and_says_so(release: Release) -> None:
    scene = build_scene(release, *UNFITTED, MODEL)
    assert scene.hand is None
    assert scene.joints is not None
    assert scene.no_hand == "No hand could be fitted to this capture."


def test_a_version_of_captures_only_shows_scan_and_cameras(captures_only: Release) -> None:
    scene = build_scene(captures_only, "0001", 1, MODEL)
    assert (scene.hand, scene.joints, scene.quality) == (None, None, None)
    assert len(scene.cameras) == 3
    assert "no labels" in scene.no_hand


def test_another_hand_model_is_not_posed_but_named(release: Release) -> None:
    scene = build_scene(release, "0001", 1, replace(MODEL, model_id="another"))
    assert scene.hand is None
    assert MODEL.model_id in scene.no_hand
    assert "PALM_HAND_MODEL" in scene.no_hand


def test_distances_are_those_of_a_scan_that_stands_off_by_a_millimetre() -> None:
    hand = np.asarray(MODEL.v_template, dtype=np.float64)
    away = hand + 1e-3 * vertex_normals(hand, np.asarray(MODEL.faces, np.int32))
    found = measure_distances(away, MODEL.faces, hand, MODEL)
    assert np.nanmedian(found.scan_mm) == pytest.approx(1.0, abs=0.01)
    assert np.nanmedian(found.hand_mm) == pytest.approx(0.98, abs=0.02), "nearer to the next surface in a fold"
    assert np.nanmax(found.hand_mm) < 1.001
    rim = hand[MODEL.rim_vertices()]
    near = np.linalg.norm(hand[:, None] - rim, axis=2).min(axis=1) <= 0.008
    assert np.isnan(found.hand_mm[near]).all()
    assert np.isfinite(found.hand_mm[~near]).mean() > 0.99


def test_colours_grow_with_distance_and_grey_is_not_compared() -> None:
    colours = distance_colours(np.array([0.0, 2.0, 4.0, 9.0, np.nan]), 4.0)
    assert np.array_equal(colours[2], colours[3])
    assert tuple(colours[4]) == NOT_COMPARED
    bright = colours[:3].astype(int).sum(axis=1)
    assert bright[0] < bright[1] < bright[2]
    for mark in ("0", "1", "2", "3", "4+"):
        assert f"<span>{mark}</span>" in legend(4.0)


def test_another_reader_finds_the_same_textured_mesh(release: Release) -> None:
    scan = release.capture("0001", 1).scan
    assert scan.uv is not None
    assert scan.uv_faces is not None
    shuffled = scan.uv_faces[::-1].copy()
    ramp = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None], 32, axis=1).repeat(3, axis=2)
    mesh = read_glb(textured_glb(scan.vertices, scan.faces, scan.uv, shuffled, ramp))
    assert np.array_equal(mesh.vertices[mesh.faces], scan.vertices[scan.faces].astype(np.float64))
    visual = mesh.visual
    assert isinstance(visual, trimesh.visual.TextureVisuals)
    assert np.allclose(visual.uv[mesh.faces], scan.uv[shuffled], atol=1e-6)
    assert np.abs(np.asarray(visual.material.baseColorTexture.convert("RGB")).astype(int) - ramp).max() < 8


def test_another_reader_finds_the_same_coloured_mesh() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (len(MODEL.v_template), 3), dtype=np.uint8)
    mesh = read_glb(coloured_glb(MODEL.v_template, MODEL.faces, colours))
    assert np.array_equal(mesh.faces, MODEL.faces)
    assert np.allclose(mesh.vertices, MODEL.v_template)
    linear = np.where(colours / 255 <= 0.04045, colours / 255 / 12.92, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    visual = mesh.visual
    assert isinstance(visual, trimesh.visual.TextureVisuals)
    assert np.allclose(visual.vertex_attributes["color"][:, :3], linear, atol=1e-6)


def test_large_images_are_made_small_and_small_ones_left() -> None:
    image = np.arange(60 * 90 * 3, dtype=np.uint8).reshape(60, 90, 3)
    assert shrunk(image, 30).shape == (20, 30, 3)
    assert shrunk(image, 90) is image


def test_the_text_tells_the_figures_and_escapes_what_comes_from_tables(release: Release) -> None:
    selection = start(release, *("0001", None))
    assert selection.current is not None
    scene = build_scene(release, "0001", 1, MODEL)
    assert scene.quality is not None
    odd = replace(scene, quality=scene.quality.model_copy(update={"reasons": "<script>alert(1)</script>"}))
    text = page_text(selection.current, release.person("0001"), odd, selection.position)
    assert "Quality ok" in text
    assert "0.900" in text
    assert "capture 1 of 6" in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_scenes_are_built_once_and_the_oldest_is_forgotten(release: Release) -> None:
    built = []

    def build(subject_id: str, frame: int) -> Scene:
        built.append((subject_id, frame))
        return build_scene(release, subject_id, frame, MODEL)

    one = build_scene(release, "0001", 1, MODEL)
    scenes = SceneCache(build, max_bytes=2 * one.bytes + 1)
    try:
        for key in [("0001", 1), ("0001", 2), ("0001", 1), ("0003", 1), ("0001", 1), ("0001", 2)]:
            scenes.get(*key)
        with pytest.raises(StoreError):
            scenes.get("0009", 1)
        scenes.prepare("0009", 1)  # the error is whose who asks
    finally:
        scenes.close()
    assert built[:4] == [("0001", 1), ("0001", 2), ("0003", 1), ("0001", 2)]
