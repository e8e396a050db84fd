"""Build the stand-in: assets in, a model file with MANO's keys out, the same bytes every time."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palm_data.hand.model import SHAPE_COMPONENTS
from palm_data.hand.standin.axes import joint_axes
from palm_data.hand.standin.correctives import Skin, corrective_error_mm, fit_correctives
from palm_data.hand.standin.cut import BONES, HandMesh, cut_hand
from palm_data.hand.standin.frame import HandPoints, read_hand_source
from palm_data.hand.standin.grasps import PoseSpace, draw_grasps, pose_space
from palm_data.hand.standin.makehuman import read_base_mesh, read_bone_weights
from palm_data.hand.standin.people import choose_people
from palm_data.hand.standin.regressor import fit_regressor
from palm_data.hand.standin.shapes import ShapeSpace, sample_hands, shape_space
from palm_data.store.atomic import write_bytes

ASSETS = Path(__file__).parents[1] / "assets"
SEED = 20200901
PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
_PER_SEX = 300
_GRASPS = 500
_TRAINING_POSES = 900
_HELD_OUT_POSES = 100
_POSE_NOISE = 0.06
_ROOT_PARENT = 2**32 - 1
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class StandIn:
    """The model's arrays by MANO's names, and how well each part came out."""

    arrays: dict[str, np.ndarray]
    figures: dict[str, float]


def build_standin(assets: Path = ASSETS, *, seed: int = SEED) -> StandIn:
    """The stand-in hand from MakeHuman's mesh and ANSUR II's people.

    Raises:
        BadInputError: if an asset is damaged.
        GeometryError: if a person's dimensions cannot be met.
    """
    makehuman = assets / "makehuman"
    body = read_base_mesh(makehuman / "base.obj")
    mesh = cut_hand(body, read_bone_weights(makehuman / "weights.default.json", BONES, len(body.vertices)))
    shape_rng, pose_rng = (np.random.default_rng([seed, part]) for part in (0, 1))
    hands = sample_hands(
        read_hand_source(makehuman, body, mesh), mesh, choose_people(assets / "ansur2", _PER_SEX), shape_rng
    )
    space = shape_space(hands, SHAPE_COMPONENTS)
    regressor = fit_regressor(space)
    mean_hand = HandPoints(space.mean, space.mean_joints, space.mean_tips)
    axes = joint_axes(mean_hand.joints, mean_hand.bone_ends())
    poses = pose_space(draw_grasps(axes, _GRASPS, pose_rng))
    skin = Skin(space.mean, mesh.weights, regressor @ space.mean, PARENTS)
    seen, unseen = (
        grasps + pose_rng.normal(0.0, _POSE_NOISE, grasps.shape)
        for grasps in (draw_grasps(axes, count, pose_rng) for count in (_TRAINING_POSES, _HELD_OUT_POSES))
    )
    correctives = fit_correctives(skin, seen)
    before, after = corrective_error_mm(skin, correctives, unseen)
    joint_errors = _joint_errors_mm(hands, regressor)
    return StandIn(
        arrays=_arrays(mesh, space, regressor, correctives, poses),
        figures={
            "shape_variance_explained": space.explained,
            "joint_regressor_error_mm_mean": float(joint_errors.mean()),
            "joint_regressor_error_mm_max": float(joint_errors.max()),
            "skinning_residual_mm_before": before,
            "skinning_residual_mm_after": after,
        },
    )


def _joint_errors_mm(hands: list[HandPoints], regressor: np.ndarray) -> np.ndarray:
    errors = [np.linalg.norm(regressor @ hand.vertices - hand.joints, axis=1) for hand in hands]
    return np.stack(errors) * 1e3


def _arrays(
    mesh: HandMesh, space: ShapeSpace, regressor: np.ndarray, correctives: np.ndarray, poses: PoseSpace
) -> dict[str, np.ndarray]:
    """MANO's keys, types and conventions; lengths on a grid far below a micrometre, against rounding elsewhere."""
    template = _on_grid(space.mean, 7)
    regressor = regressor.astype(np.float32)
    return {
        "v_template": template,
        "f": mesh.faces.astype(np.uint32),
        "weights": mesh.weights.astype(np.float32),
        "J_regressor": regressor,
        "kintree_table": np.stack([np.where(PARENTS < 0, _ROOT_PARENT, PARENTS), np.arange(len(PARENTS))]),
        "J": _on_grid(regressor.astype(np.float64) @ template.astype(np.float64), 7),
        "shapedirs": _on_grid(space.directions, 8),
        "posedirs": _on_grid(correctives, 8),
        "hands_components": _on_grid(poses.components, 7),
        "hands_mean": _on_grid(poses.mean, 7),
        "hands_coeffs": _on_grid(poses.coefficients, 7),
        "bs_type": np.array("lrotmin"),
        "bs_style": np.array("lbs"),
        "side": np.array("right"),
        "vt": mesh.uvs.astype(np.float32),
        "ft": mesh.uv_faces.astype(np.int64),
        "tip_vertex_ids": mesh.tips.astype(np.int64),
        "mh_vertex_ids": mesh.base_rows.astype(np.int64),
    }


def _on_grid(values: np.ndarray, decimals: int) -> np.ndarray:
    # Adding zero turns −0 into 0.
    return (np.round(values, decimals) + 0.0).astype(np.float32)


def write_model(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an `.npz` whose bytes depend on the arrays alone: no dates, no compression, keys in order."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(arrays[name], order="C"), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH), member.getvalue())
    write_bytes(path, content.getvalue())
