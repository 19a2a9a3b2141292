"""Formulas as MathML, which browsers draw themselves: the book loads no script for them."""

from __future__ import annotations

from latex2mathml.converter import convert

UNKNOWN = {r"\arg": r"\operatorname{arg}"}  # commands that latex2mathml lacks → what it knows


def mathml(tex: str, *, display: bool) -> str:
    r"""MathML of a formula. ValueError: a command that latex2mathml does not know, such as it would print as it stands.

    In a displayed formula the index of `\min` stands below it, as LaTeX sets it.
    """
    known = tex.replace(r"\min_", r"\min\limits_") if display else tex
    for command, instead in UNKNOWN.items():
        known = known.replace(command, instead)
    result = convert(known, display="block" if display else "inline")
    if "\\" in result:
        raise ValueError(f"the formula {tex!r} must have commands that latex2mathml knows, got {result!r}")
    return result
