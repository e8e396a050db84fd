"""Levenberg–Marquardt over the frames of one subject, with a shape that they share or that is frozen."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.registration.frame import FrameProblem
from palm_data.registration.parameters import FRAME_SIZE, SHAPE, HandFit
from palm_data.registration.quadratic import Quadratic
from schemas.errors import GeometryError
from schemas.registration import Phase

_DAMPING_START = 1e-3
_DAMPING_RANGE = (1e-7, 1e7)
_TRIES = 5
_FRAME = slice(0, FRAME_SIZE)


def minimise(problems: Sequence[FrameProblem], start: HandFit, phase: Phase, *, free_shape: bool) -> HandFit:
    """Lower the objective of all frames together for a phase's iterations; it never rises within a step.

    With a frozen shape the frames are independent, and each has its own damping.

    Raises:
        GeometryError: if the objective is not finite.
    """
    for problem, frame in zip(problems, start.frames, strict=True):
        problem.begin(frame, start.betas, phase)
    if free_shape:
        return _together(problems, start, phase)
    frames, objective = start.frames.copy(), start.objective.copy()
    for index, problem in enumerate(problems):
        alone = HandFit(start.betas, frames[index : index + 1], objective[index : index + 1])
        fitted = _together([problem], alone, phase, free_shape=False)
        frames[index], objective[index] = fitted.frames[0], fitted.objective[0]
    return HandFit(start.betas, frames, objective)


def _together(problems: Sequence[FrameProblem], start: HandFit, phase: Phase, *, free_shape: bool = True) -> HandFit:
    betas, frames, damping = start.betas, start.frames, _DAMPING_START
    values = start.objective
    for _ in range(phase.iterations):
        linearised = [problem.linearise(frame, betas, phase) for problem, frame in zip(problems, frames, strict=True)]
        values = np.array([quadratic.value for quadratic, _ in linearised])
        if not np.isfinite(values).all():
            raise GeometryError(
                f"registration: expected a finite objective, found {values}. Check the scans and cameras."
            )
        for _ in range(_TRIES):
            frame_steps, shape_step = _step([quadratic for quadratic, _ in linearised], damping, free_shape=free_shape)
            candidate = np.array(
                [
                    value(frame + step, betas + shape_step)
                    for (_, value), frame, step in zip(linearised, frames, frame_steps, strict=True)
                ]
            )
            if candidate.sum() < values.sum():
                betas, frames, values = betas + shape_step, frames + frame_steps, candidate
                damping = max(damping / 5, _DAMPING_RANGE[0])
                break
            damping = min(damping * 8, _DAMPING_RANGE[1])
    return HandFit(betas, frames, values)


def _step(
    quadratics: Sequence[Quadratic], damping: float, *, free_shape: bool
) -> tuple[Float[ndarray, "frames 51"], Float[ndarray, "10"]]:
    """The damped Newton step; the shared shape by the Schur complement of the frames' blocks."""
    hessians = np.stack([quadratic.hessian for quadratic in quadratics])
    gradients = np.stack([quadratic.gradient for quadratic in quadratics])
    diagonal = np.einsum("fii->fi", hessians)
    frame_blocks = (
        hessians[:, _FRAME, _FRAME] + damping * np.eye(FRAME_SIZE) * np.maximum(diagonal[:, _FRAME], 1e-9)[:, None]
    )
    if not free_shape:
        return -np.linalg.solve(frame_blocks, gradients[:, _FRAME, None])[..., 0], np.zeros(SHAPE.stop - SHAPE.start)
    coupling = hessians[:, _FRAME, SHAPE]
    solved = np.linalg.solve(frame_blocks, np.concatenate([gradients[:, _FRAME, None], coupling], axis=2))
    own, through_shape = solved[..., 0], solved[..., 1:]
    shape_block = hessians[:, SHAPE, SHAPE].sum(axis=0)
    shape_block += damping * np.diag(np.maximum(np.diag(shape_block), 1e-9))
    reduced = shape_block - np.einsum("fij,fik->jk", coupling, through_shape)
    right = gradients[:, SHAPE].sum(axis=0) - np.einsum("fij,fi->j", coupling, own)
    shape_step = -np.linalg.solve(reduced, right)
    return -(own + np.einsum("fij,j->fi", through_shape, shape_step)), shape_step
