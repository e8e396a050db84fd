"""Distances as colours, and the bar that says which is which."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

# Plasma of matplotlib (CC0), every eighth of it: even steps look like even steps, in grey and to colour-blind eyes too.
_ANCHORS = np.array(
    [(13, 8, 135), (84, 2, 163), (139, 10, 165), (185, 50, 137), (219, 92, 104), (244, 136, 73), (254, 188, 43),
     (240, 249, 33)], dtype=np.float64,
)  # fmt: skip
NOT_COMPARED = (128, 132, 138)


def distance_colours(distances_mm: Float[ndarray, " points"], limit_mm: float) -> UInt8[ndarray, "points 3"]:
    """A colour (sRGB) for each distance, from 0 to the limit and beyond; grey for NaN."""
    share = np.clip(np.nan_to_num(distances_mm) / limit_mm, 0.0, 1.0)
    stops = np.linspace(0.0, 1.0, len(_ANCHORS))
    colours = np.stack([np.interp(share, stops, channel) for channel in _ANCHORS.T], axis=-1)
    colours[np.isnan(distances_mm)] = NOT_COMPARED
    return np.rint(colours).astype(np.uint8)


def legend(limit_mm: float) -> str:
    """The colour bar as HTML."""
    bar = ", ".join(f"rgb({', '.join(f'{value:.0f}' for value in colour)})" for colour in _ANCHORS)
    marks = "".join(f"<span>{limit_mm * step / 4:g}{'+' if step == 4 else ''}</span>" for step in range(5))
    grey = f"rgb{NOT_COMPARED}"
    return (
        '<div style="padding: 0 0.9em 0.6em; font-size: 0.8em">'
        f'<div style="height: 0.9em; border-radius: 3px; background: linear-gradient(to right, {bar})"></div>'
        f'<div style="display: flex; justify-content: space-between">{marks}</div>'
        f'<div>mm to the other surface; <span style="color: {grey}">■</span> not compared</div></div>'
    )
