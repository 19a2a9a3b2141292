"""Distance maps: each pixel's distance to the nearest reference pixel of each object (Eqs. 1 to 4).

`maps` computes them; `global_search` and `local_search` find the nearest pixels. `naive` (loops) and `dense` (whole
tables) compute the same and are the test oracles.
"""

from feelvos_lab.model.matching.maps import (
    Match,
    global_matching,
    local_matching,
    matching_memory,
    nearest_global,
    nearest_local,
    normalise_distance,
    pairwise_sq_dist,
    sample_reference,
)

__all__ = [
    "Match",
    "global_matching",
    "local_matching",
    "matching_memory",
    "nearest_global",
    "nearest_local",
    "normalise_distance",
    "pairwise_sq_dist",
    "sample_reference",
]
