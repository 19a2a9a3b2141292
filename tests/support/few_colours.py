"""Save a picture with 256 colours, a third of the bytes, for the README.

python tests/support/few_colours.py PICTURE.png OUT.png
"""

from __future__ import annotations

import sys

from PIL import Image


def few_colours(picture: Image.Image) -> Image.Image:
    """256 colours, of which rare ones get their share too: the colour bar must stay smooth."""
    chosen = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
    return picture.quantize(256, palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)


if __name__ == "__main__":
    few_colours(Image.open(sys.argv[1]).convert("RGB")).save(sys.argv[2], optimize=True)
