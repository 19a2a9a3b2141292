"""J, F and J&F by the rules of the official DAVIS evaluation, for masks and for models."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "contour_accuracy": "metrics",
        "copy_first_mask": "scoring",
        "drawn_scores": "metrics",
        "evaluate": "scoring",
        "frame_scores": "metrics",
        "mean_over_time": "over_time",
        "region_similarity": "metrics",
        "scores_over_time": "over_time",
    },
)
