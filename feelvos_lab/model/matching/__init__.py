"""Distance maps: each pixel's distance to the nearest reference pixel of each object (Eqs. 1 to 4).

`maps` computes them; `global_search` and `local_search` find the nearest pixels on a CPU, `slice_search`,
`window_search` and, where asked for, `triton_search` on a GPU. `naive` (loops) and `dense` (whole tables) compute the
same and are the test oracles.
"""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Match": "maps",
        "global_matching": "maps",
        "local_matching": "maps",
        "matching_memory": "maps",
        "nearest_global": "maps",
        "nearest_local": "maps",
        "normalise_distance": "maps",
        "pairwise_sq_dist": "maps",
        "sample_reference": "maps",
    },
)
