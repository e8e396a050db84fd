"""The two stages: shape and pose on the simple gestures together, then every pose with the shape frozen.

PALM §3.3: "the first stage optimizes the per-subject hand shape parameters and per-frame pose parameters on a set of
simple hand poses, and the second stage only optimizes the per-frame pose parameters while freezing the shape".
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.hand.model import SHAPE_COMPONENTS, HandModel
from palm_data.registration.frame import FrameProblem, HandShapeContext
from palm_data.registration.parameters import FRAME_SIZE, ORIENT, TRANSL, HandFit
from palm_data.registration.solver import minimise
from palm_data.registration.start import rigid_start
from palm_data.registration.targets import FrameTarget
from schemas.errors import GeometryError
from schemas.registration import RegistrationSettings


def fit_shape(model: HandModel, targets: Sequence[FrameTarget], settings: RegistrationSettings) -> HandFit:
    """Stage one: the subject's shape, from frames that show it plainly, with their poses.

    Raises:
        GeometryError: if there is no frame, or one has fewer than three keypoints.
    """
    if not targets:
        raise GeometryError("shape: expected at least one capture of a simple gesture, found none.")
    context = HandShapeContext(model, settings)
    problems = [FrameProblem(target, context) for target in targets]
    fit = _rigid(context, targets, np.zeros(SHAPE_COMPONENTS))
    for phase in (settings.start, *settings.phases):
        fit = minimise(problems, fit, phase, free_shape=True)
    return fit


def fit_poses(
    model: HandModel,
    targets: Sequence[FrameTarget],
    betas: Float[ndarray, "10"],
    settings: RegistrationSettings,
    progress: Callable[[int], None] = lambda done: None,
) -> HandFit:
    """Stage two: the pose of each frame, with the shape frozen. Frames do not influence each other.

    Args:
        progress: told how many frames are done.

    Raises:
        GeometryError: if a frame has fewer than three keypoints, or its fit is not finite.
    """
    context = HandShapeContext(model, settings)
    frames, objective = np.zeros((len(targets), FRAME_SIZE)), np.zeros(len(targets))
    for index, target in enumerate(targets):
        frames[index], objective[index] = fit_pose(context, target, betas)
        progress(index + 1)
    return HandFit(betas, frames, objective)


def fit_pose(
    context: HandShapeContext, target: FrameTarget, betas: Float[ndarray, "10"]
) -> tuple[Float[ndarray, "51"], float]:
    """One frame of stage two: its pose and the objective there, mm².

    Raises:
        GeometryError: if the frame has fewer than three keypoints, or its fit is not finite.
    """
    fit, problem = _rigid(context, [target], betas), FrameProblem(target, context)
    for phase in (context.settings.start, *context.settings.phases):
        fit = minimise([problem], fit, phase, free_shape=False)
    return fit.frames[0], float(fit.objective[0])


def check_start(context: HandShapeContext, target: FrameTarget) -> None:
    """See that a frame has somewhere to start from, and a finite objective in every phase.

    Raises:
        GeometryError: if it has fewer than three keypoints, they lie on a line, or the objective is not finite.
    """
    fit, problem = _rigid(context, [target], np.zeros(SHAPE_COMPONENTS)), FrameProblem(target, context)
    for phase in (context.settings.start, *context.settings.phases):
        minimise([problem], fit, phase.model_copy(update={"iterations": 1, "silhouette": 0.0}), free_shape=False)


def _rigid(context: HandShapeContext, targets: Sequence[FrameTarget], betas: Float[ndarray, "10"]) -> HandFit:
    """The mean pose, laid onto each frame's palm."""
    rest = context.pose(np.zeros(FRAME_SIZE), betas).joints
    frames = np.zeros((len(targets), FRAME_SIZE))
    for frame, target in zip(frames, targets, strict=True):
        frame[ORIENT], frame[TRANSL] = rigid_start(rest, target.keypoints)
    return HandFit(betas, frames, np.zeros(len(targets)))
