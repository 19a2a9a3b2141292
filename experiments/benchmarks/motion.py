"""Do the objects of synthetic clips move and change as those of real video do?

    python experiments/benchmarks/motion.py --data-root DAVIS [--clips 256] [--split validation] [--frames 20]

DAVIS-2016 is read at a height of 240 pixels, where the window radius of 15 cells of 4 pixels at 480p is 30 pixels.
Synthetic clips have the size of preset reduced, 96×128, whose window radius is 4 cells of 4 pixels. The train
sequences are what `feelvos_lab.data.calibrated` was set by (`REAL_VIDEO`); those of val are printed for comparison.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from feelvos_lab.data.davis import read_davis
from feelvos_lab.data.motion import MotionQuantiles, motion_quantiles
from feelvos_lab.data.synthetic import make_clips

COLUMNS = "| clips | n | overlap 10/50/90 % | shift 50/90/99 % | area change 50/90 % | overlap with the first mask "
COLUMNS += "10/50/90 % | colour change 50/90 % | absent | objects a clip |"


def _line(name: str, found: MotionQuantiles) -> str:
    groups = (found.overlap, found.shift, found.area_change, found.first_overlap, found.colour_change)
    cells = [" / ".join(f"{value:.3f}" for value in group) for group in groups]
    cells = [name, f"{found.pairs}", *cells, f"{found.absent:.3f}", f"{found.objects:.1f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=None, help="of DAVIS; without it, synthetic clips alone")
    parser.add_argument("--clips", type=int, default=256, help="synthetic clips of each mix")
    parser.add_argument("--frames", type=int, default=20, help="of a synthetic clip")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="validation", help="of their seeds")
    given = parser.parse_args()
    print(COLUMNS)
    print("|" + "---|" * (COLUMNS.count("|") - 1))
    for split in ("train", "val") if given.data_root else ():
        clips = read_davis(given.data_root, year=2016, split=split, height=240)
        print(_line(f"DAVIS-2016 {split}", motion_quantiles(clips, radius_px=30)), flush=True)
    size = {"count": given.clips, "height": 96, "width": 128, "frames": given.frames}
    for scenes in ("mixed", "calibrated"):
        clips = make_clips(given.split, scenes=scenes, **size)
        print(_line(f"{scenes}, {given.split}", motion_quantiles(clips, radius_px=16)), flush=True)


if __name__ == "__main__":
    main()
