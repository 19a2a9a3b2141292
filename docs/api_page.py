"""The page of the public names, from the packages' `__all__`: each name once, where it first comes."""

from __future__ import annotations

import importlib
import inspect

FACES = (
    "feelvos_lab",
    "feelvos_lab.data",
    "feelvos_lab.model.matching",
    "feelvos_lab.inference",
    "feelvos_lab.evaluation",
    "feelvos_lab.training",
    "feelvos_lab.ablation",
    "feelvos_lab.widgets",
    "feelvos_lab.lessons",
    "feelvos_lab.lab",
)


def api_page() -> str:
    """MyST Markdown with a heading for each package and an autodoc directive for each of its names."""
    lines = ["# Public names", "", "Each example is run by the tests, in an empty folder."]
    seen: dict[int, str] = {}
    for face in FACES:
        module = importlib.import_module(face)
        lines += ["", f"## {face}", "", (module.__doc__ or "").strip().splitlines()[0], ""]
        known = []
        for name in module.__all__:
            thing = getattr(module, name)
            if id(thing) in seen:
                known.append(f"`{seen[id(thing)]}`")
                continue
            seen[id(thing)] = f"{face}.{name}"
            lines += ["```{eval-rst}", _directive(thing, f"{face}.{name}"), "```", ""]
        if known:
            lines += [f"Also here: {', '.join(known)}."]
    return "\n".join(lines) + "\n"


def _directive(thing: object, name: str) -> str:
    if not inspect.isclass(thing):
        return f".. autofunction:: {name}"
    if issubclass(thing, Exception):
        return f".. autoexception:: {name}"
    return f".. autoclass:: {name}\n   :members:\n"
