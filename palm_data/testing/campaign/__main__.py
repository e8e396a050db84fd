"""`python -m palm_data.testing.campaign`: the proof of integrity, as JSON on stdout."""

import argparse
import sys
from pathlib import Path

from palm_data.testing.campaign.runner import KINDS, run_campaign
from schemas.errors import PalmError


def main() -> int:
    """Run what was asked for; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="palm_data.testing.campaign", description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma-separated; default: all (%(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="try this share of each kind's cases (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", metavar="KIND:NUMBER", help="try one case again")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    asked = parser.parse_args()
    kinds, case = asked.kinds.split(","), None
    if asked.case:
        kind, _, number = asked.case.partition(":")
        if not number.isdecimal():
            parser.error(f"--case: expected KIND:NUMBER, found {asked.case}")
        kinds, case = [kind], int(number)
    try:
        report = run_campaign(kinds, share=asked.share, seed=asked.seed, case=case)
    except PalmError as error:
        parser.error(str(error))
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(report.json_text(), encoding="utf-8")
    sys.stdout.write(report.json_text())
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
