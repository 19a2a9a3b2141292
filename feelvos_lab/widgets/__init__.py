"""What can be clicked in a notebook: `explore` a network's distances, `paint` a first mask.

Widgets are thin: `probe`, `painting` and `infer` compute, `viz_explorer` and `viz_painter` draw. Where nobody can
click, as under papermill, the picture alone is shown.
"""

from __future__ import annotations

from feelvos_lab.widgets.explorer import Explorer, explore
from feelvos_lab.widgets.painter import Painter, paint

__all__ = ["Explorer", "Painter", "explore", "paint"]
