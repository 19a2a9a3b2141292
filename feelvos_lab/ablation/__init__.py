"""Ablation experiments: from a YAML file to runs, records, statistics, tables and a report."""

from feelvos_lab import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "load_spec": "spec",
        "read_published": "results",
        "read_results": "results",
    },
)
