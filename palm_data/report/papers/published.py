"""What has been published about hand data sets, to stand beside a version's own figures.

Source: the PALM paper (its Table 1, Figure 3 and section 3); numbers are as printed there.
"""

from collections.abc import Mapping
from typing import NamedTuple

SOURCE = "the PALM paper, Table 1"
PAPER_FIT_MM = 5.3
"""Mean distance of fitted to triangulated joints."""


class Published(NamedTuple):
    """A row of Table 1; a dash is the paper's own."""

    name: str
    subjects: str
    scans: str
    image_size: str
    real_rgb: str
    annotation: str


TABLE_1: tuple[Published, ...] = (
    Published("ICVL", "10", "0", "320×240", "–", "track"),
    Published("BigHand2.2M", "10", "0", "640×480", "–", "marker"),
    Published("Tzionas et al.", "–", "0", "640×480", "yes", "track"),
    Published("Simon et al.", "–", "0", "1920×1080", "yes", "semi-auto"),
    Published("EgoDexter", "4", "0", "640×480", "yes", "manual"),
    Published("STB", "1", "0", "640×480", "yes", "manual"),
    Published("FreiHAND", "32", "0", "224×224", "yes", "semi-auto"),
    Published("InterHand2.6M", "50", "0", "512×334", "yes", "semi-auto"),
    Published("Re:InterHand", "10", "0", "4096×2668", "no", "–"),
    Published("DART", "–", "0", "512×512", "no", "–"),
    Published("MANO", "31", "1K", "N/A", "yes", "manual"),
    Published("PALM (paper)", "263", "13K", "2448×2048", "yes", "semi-auto + scan"),
)
SHARES: Mapping[str, Mapping[str, float]] = {
    "sex": {"female": 132 / 263, "male": 131 / 263},
    "age_band": {"21-30": 0.24, "31-40": 0.33, "41-50": 0.26},
    "height_band": {"145-170": 0.48, "171-180": 0.35, "191-200": 0.04},
    "skin_tone": {"light": 0.15, "medium": 0.38, "tan": 0.20, "dark": 0.27},
}
"""Column → band → its share among the paper's people, where the paper gives one."""
