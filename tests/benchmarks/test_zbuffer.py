"""Mask, depth and smooth normals of a scan of 209,664 triangles at 2448×2048: ours against Open3D's ray casting.

Both sides get what a capture's views share: the vertex normals, and Open3D its acceleration structure.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from palm_data.maps.surface import vertex_normals
from palm_data.maps.zbuffer import projected_roi, rasterize
from tests.palm_data.maps.scenes import Scene, cast_rays, hand_scene, ray_caster


@pytest.fixture(scope="module")
def scan() -> Scene:
    return hand_scene(2448, 2048, subdivisions=3, focal=2.2)


@pytest.mark.benchmark(group="scan maps of one view", min_rounds=5)
def test_zbuffer(benchmark: BenchmarkFixture, scan: Scene) -> None:
    roi = projected_roi(scan.vertices, scan.intrinsics, scan.width, scan.height)
    normals = vertex_normals(scan.vertices, scan.faces)
    raster = rasterize(*scan, roi=roi)  # compiles
    benchmark(lambda: rasterize(*scan, roi=roi, vertex_normals=normals))
    benchmark.extra_info["coverage"] = float((raster.face_id >= 0).sum() / (scan.width * scan.height))


@pytest.mark.benchmark(group="scan maps of one view", min_rounds=5)
def test_open3d_ray_casting_same_region(benchmark: BenchmarkFixture, scan: Scene) -> None:
    roi = projected_roi(scan.vertices, scan.intrinsics, scan.width, scan.height)
    caster, normals = ray_caster(scan), vertex_normals(scan.vertices, scan.faces)
    benchmark(lambda: cast_rays(scan, roi, caster=caster, normals=normals))
