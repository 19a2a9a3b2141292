"""Jupyter widgets: `explore` matches, `paint` masks and propagate them, `slide` through figures, drag a `pair`.

Widgets are thin: `inference`, `mask_editor` and `painted_video` compute, `figures` draw. Without a live front end, as
under papermill, only a static picture is displayed.
"""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Explorer": "explorer",
        "Painter": "painter",
        "explore": "explorer",
        "paint": "painter",
        "pair": "vector_pair",
        "slide": "slider",
    },
)
