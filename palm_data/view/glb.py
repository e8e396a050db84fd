"""Meshes as binary glTF 2.0, the one format that carries colours and textures to a browser.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html, sections 3.6 (buffers), 3.7 (meshes), 4 (GLB).
"""

import json
import math
import struct

import cv2
import numpy as np
from jaxtyping import Float, Integer, UInt8
from numpy import ndarray

from palm_data.colour import linear_from_srgb
from palm_data.interop.pngs import png_bytes
from palm_data.maps.surface import vertex_normals
from schemas.errors import StoreError

_FLOAT, _UINT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}
_JPEG_QUALITY = 88
_Z_TO_Y = [-math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)]
"""A quarter turn about x, as a quaternion x, y, z, w."""
_GLTF, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942


def coloured_glb(
    vertices: Float[ndarray, "vertices 3"],
    faces: Integer[ndarray, "faces 3"],
    colours: UInt8[ndarray, "vertices 3"],
) -> bytes:
    """A mesh with one sRGB colour a vertex."""
    writer = _Writer()
    attributes = {
        "POSITION": writer.vertices(vertices),
        "NORMAL": writer.vertices(vertex_normals(np.asarray(vertices, np.float64), np.asarray(faces, np.int32))),
        "COLOR_0": writer.vertices(linear_from_srgb(colours / 255.0)),
    }
    return writer.glb(attributes, faces, {"baseColorFactor": [1, 1, 1, 1]})


def textured_glb(
    vertices: Float[ndarray, "vertices 3"],
    faces: Integer[ndarray, "faces 3"],
    uv: Float[ndarray, "uvs 2"],
    uv_faces: Integer[ndarray, "faces 3"],
    texture: UInt8[ndarray, "height width 3"],
    *,
    max_texture_px: int = 2048,
) -> bytes:
    """A mesh with its texture, made smaller if its longer side has more pixels.

    Args:
        uv: v up, (0, 0) = the lower left corner of the texture.

    Raises:
        StoreError: if the texture cannot be encoded.
    """
    pairs = faces.astype(np.int64) * len(uv) + uv_faces
    _, first, corners = np.unique(pairs, return_index=True, return_inverse=True)
    of_vertex, of_uv = faces.reshape(-1)[first], uv_faces.reshape(-1)[first]
    normals = vertex_normals(np.asarray(vertices, np.float64), np.asarray(faces, np.int32))
    writer = _Writer()
    attributes = {
        "POSITION": writer.vertices(vertices[of_vertex]),
        "NORMAL": writer.vertices(normals[of_vertex]),
        "TEXCOORD_0": writer.vertices(np.stack([uv[of_uv, 0], 1.0 - uv[of_uv, 1]], axis=1)),
    }
    writer.image(_jpeg(shrunk(texture, max_texture_px)))
    return writer.glb(attributes, corners.reshape(-1, 3), {"baseColorTexture": {"index": 0}})


def pbr_glb(
    vertices: Float[ndarray, "vertices 3"],
    normals: Float[ndarray, "vertices 3"],
    faces: Integer[ndarray, "faces 3"],
    uv: Float[ndarray, "uvs 2"],
    uv_faces: Integer[ndarray, "faces 3"],
    *,
    base_colour: UInt8[ndarray, "height width 3"],
    metallic_roughness: UInt8[ndarray, "height width 3"],
    z_up: bool,
) -> bytes:
    """A mesh with its material as textures, stored without loss, to be lit by whoever opens it.

    Args:
        uv: v down, (0, 0) = the upper left corner of the textures.
        base_colour: sRGB.
        metallic_roughness: linear; green is roughness, blue metallic.
        z_up: +z is up in the mesh; the file turns it to +y, as glTF has it.

    Raises:
        StoreError: if a texture cannot be encoded.
    """
    pairs = faces.astype(np.int64) * len(uv) + uv_faces
    _, first, corners = np.unique(pairs, return_index=True, return_inverse=True)
    of_vertex, of_uv = faces.reshape(-1)[first], uv_faces.reshape(-1)[first]
    writer = _Writer()
    attributes = {
        "POSITION": writer.vertices(vertices[of_vertex]),
        "NORMAL": writer.vertices(normals[of_vertex]),
        "TEXCOORD_0": writer.vertices(uv[of_uv]),
    }
    for picture in (base_colour, metallic_roughness):
        writer.image(png_bytes(picture), "image/png")
    material = {
        "baseColorTexture": {"index": 0},
        "metallicRoughnessTexture": {"index": 1},
        "metallicFactor": 1.0,
        "roughnessFactor": 1.0,
    }
    turn: dict[str, object] = {"rotation": _Z_TO_Y} if z_up else {}
    return writer.glb(attributes, corners.reshape(-1, 3), material, turn)


def shrunk(image: UInt8[ndarray, "height width 3"], max_px: int) -> UInt8[ndarray, "h w 3"]:
    """The image, averaged down until its longer side has at most so many pixels."""
    height, width = image.shape[:2]
    scale = max_px / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg(image: UInt8[ndarray, "height width 3"]) -> bytes:
    done, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise StoreError(f"texture: expected an image that JPEG can hold, found one of {image.shape}.")
    return encoded.tobytes()


class _Writer:
    """One mesh with one material; everything in one buffer."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._views: list[dict[str, int]] = []
        self._accessors: list[dict[str, object]] = []
        self._images: list[dict[str, object]] = []

    def vertices(self, values: ndarray) -> int:
        """Numbers of each vertex; the accessor's index."""
        rows = np.ascontiguousarray(values, dtype="<f4")
        bounds = {
            "min": rows.min(axis=0).tolist(),
            "max": rows.max(axis=0).tolist(),
        }  # the standard asks for positions'
        return self._accessor(rows, _FLOAT, _VERTICES, bounds)

    def image(self, content: bytes, kind: str = "image/jpeg") -> None:
        """A picture for the material: its texture's index is how many came before."""
        self._images.append({"bufferView": self._view(content), "mimeType": kind})

    def glb(
        self,
        attributes: dict[str, int],
        faces: ndarray,
        material: dict[str, object],
        placed: dict[str, object] | None = None,
    ) -> bytes:
        """The file; `placed` is how its node stands."""
        corners = self._accessor(np.ascontiguousarray(faces.reshape(-1), dtype="<u4"), _UINT, _INDICES, {})
        rough = {"metallicFactor": 0.0, "roughnessFactor": 0.9, **material}
        document: dict[str, object] = {
            "asset": {"version": "2.0", "generator": "palm"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, **(placed or {})}],
            "meshes": [{"primitives": [{"attributes": attributes, "indices": corners, "material": 0}]}],
            "materials": [{"pbrMetallicRoughness": rough, "doubleSided": True}],
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._buffer)}],
        }
        if self._images:
            document |= {"images": self._images, "textures": [{"source": at} for at in range(len(self._images))]}
        text = json.dumps(document, separators=(",", ":")).encode()
        parts = [(_JSON, text + b" " * (-len(text) % 4)), (_BIN, bytes(self._buffer))]
        body = b"".join(struct.pack("<II", len(content), kind) + content for kind, content in parts)
        return struct.pack("<III", _GLTF, 2, 12 + len(body)) + body

    def _accessor(self, rows: ndarray, kind: int, target: int, bounds: dict[str, object]) -> int:
        shape = _KINDS[1 if rows.ndim == 1 else rows.shape[1]]
        view = self._view(rows.tobytes(), target)
        self._accessors.append({"bufferView": view, "componentType": kind, "count": len(rows), "type": shape, **bounds})
        return len(self._accessors) - 1

    def _view(self, content: bytes, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": len(content)}
        self._views.append(view if target is None else {**view, "target": target})
        self._buffer += content + b"\0" * (-len(content) % 4)
        return len(self._views) - 1
