"""What lesson notebooks call, the checks of their exercises, and the rules that they keep."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "exercise": "exercises",
        "hint": "exercises",
        "solution": "exercises",
    },
)
