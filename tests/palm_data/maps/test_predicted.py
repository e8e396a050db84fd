import numpy as np
import pytest

from palm_data.maps.predicted import PredictedView
from schemas.errors import GeometryError


def pictures(**others: np.ndarray) -> dict[str, np.ndarray]:
    colour, grey = np.zeros((4, 6, 3), np.float32), np.zeros((4, 6), np.float32)
    return {"rgb": colour, "opacity": grey, "normal": colour, "depth": grey, **others}


def test_a_view_may_leave_out_what_only_the_shaded_branch_knows() -> None:
    view = PredictedView(**pictures())
    assert view.albedo is view.roughness is view.pbr_rgb is None


@pytest.mark.parametrize("name", ["rgb", "normal", "albedo", "pbr_rgb", "depth", "roughness"])
def test_a_picture_of_another_size_is_named(name: str) -> None:
    grey = name in {"depth", "roughness"}
    wrong = np.zeros((6, 4) if grey else (6, 4, 3), np.float32)
    with pytest.raises(GeometryError, match=f"{name}: expected"):
        PredictedView(**pictures(**{name: wrong}))


def test_a_value_that_is_no_number_is_refused() -> None:
    depth = np.zeros((4, 6), np.float32)
    depth[1, 2] = np.nan
    with pytest.raises(GeometryError, match="depth: expected finite"):
        PredictedView(**pictures(depth=depth))
