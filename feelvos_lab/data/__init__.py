"""Clips, that is videos with object masks: read from files and data sets, or generated from a seed."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Clip": "clip",
        "Difficulty": "difficulty_sweep",
        "load_clips": "datasets",
        "make_clip": "synthetic",
        "make_clips": "synthetic",
        "motion_quantiles": "motion",
        "paste_objects": "composite",
        "read_clip": "readers",
        "read_davis": "davis",
        "read_youtube_vos": "youtube_vos",
    },
)
