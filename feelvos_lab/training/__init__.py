"""Training: samples, losses, the loop, and its state on disk."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "hard_pixel_loss": "losses",
        "kept_fraction": "losses",
        "poly_rate": "optimizer",
        "train": "loop",
    },
)
