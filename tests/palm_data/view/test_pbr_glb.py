"""A file with material textures: its structure by the standard's text, and what another reader makes of it."""

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from palm_data.view.glb import pbr_glb

VERTICES = np.float32([[0, 0, 0], [0.1, 0, 0], [0.1, 0, 0.2], [0, 0, 0.2]])
NORMALS = np.float32([[0, -1, 0]] * 4)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
UV = np.float32([[0, 1], [1, 1], [1, 0], [0, 0], [0.5, 0.5]])
UV_FACES = np.array([[0, 1, 2], [4, 2, 3]])


def content(*, z_up: bool) -> tuple[bytes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    base, rough = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    glb = pbr_glb(
        VERTICES, NORMALS, FACES, UV, UV_FACES, base_colour=base, metallic_roughness=rough, z_up=z_up
    )  # fmt: skip
    return glb, base, rough


def test_chunks_views_and_accessors_are_as_the_standard_has_them() -> None:
    glb, _, _ = content(z_up=True)
    magic, version, length = struct.unpack_from("<4sII", glb)
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    size, kind = struct.unpack_from("<I4s", glb, 12)
    assert kind == b"JSON"
    document = json.loads(glb[20 : 20 + size])
    binary, kind = struct.unpack_from("<I4s", glb, 20 + size)
    assert kind == b"BIN\0"
    assert size % 4 == binary % 4 == 0
    assert 28 + size + binary == len(glb)
    assert document["buffers"] == [{"byteLength": binary}]
    body = glb[28 + size :]
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= binary
    (primitive,) = document["meshes"][0]["primitives"]
    place = document["accessors"][primitive["attributes"]["POSITION"]]
    view = document["bufferViews"][place["bufferView"]]
    stored = np.frombuffer(body, "<f4", 3 * place["count"], view["byteOffset"]).reshape(-1, 3)
    assert len(stored) == 5  # one vertex has two texture coordinates
    assert place["min"] == stored.min(axis=0).tolist()
    assert place["max"] == stored.max(axis=0).tolist()
    assert {document["accessors"][one]["count"] for one in primitive["attributes"].values()} == {5}
    material = document["materials"][0]["pbrMetallicRoughness"]
    pictures = [document["textures"][material[name]["index"]]["source"] for name in
                ("baseColorTexture", "metallicRoughnessTexture")]  # fmt: skip
    assert pictures == [0, 1]
    for image in document["images"]:
        start = document["bufferViews"][image["bufferView"]]["byteOffset"]
        assert body[start : start + 4] == b"\x89PNG"


def test_another_reader_finds_the_same_mesh_upright_and_the_same_textures() -> None:
    glb, base, rough = content(z_up=True)
    scene = trimesh.load_scene(io.BytesIO(glb), file_type="glb", process=False)
    (mesh,) = scene.dump()
    expected = VERTICES[FACES][..., [0, 2, 1]] * (1, 1, -1)
    assert mesh.triangles == pytest.approx(expected, abs=1e-6)
    assert mesh.visual.uv[mesh.faces] == pytest.approx(UV[UV_FACES] * (1, -1) + (0, 1), abs=1e-6)  # trimesh's v is up
    material = mesh.visual.material
    assert (np.asarray(material.baseColorTexture) == base).all()
    assert (np.asarray(material.metallicRoughnessTexture) == rough).all()
    assert (material.metallicFactor, material.roughnessFactor) == (1.0, 1.0)


def test_a_mesh_that_is_not_z_up_stands_as_it_is() -> None:
    scene = trimesh.load_scene(io.BytesIO(content(z_up=False)[0]), file_type="glb", process=False)
    assert scene.dump()[0].triangles == pytest.approx(VERTICES[FACES], abs=1e-6)
