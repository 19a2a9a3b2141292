"""The number of parameters of a network, by stage."""

from __future__ import annotations

from feelvos_lab.config import configure
from feelvos_lab.model.feelvos import Feelvos

_STAGES = (  # the first prefix that fits gives the stage of a weight
    ("backbone.", "backbone"),
    ("decoder.context.", "context (ASPP)"),
    ("decoder.", "decoder to stride 4"),
    ("embedding.", "embedding"),
    ("head.", "segmentation head (all objects)"),
)


def parameter_table(preset: str) -> str:
    """All parameters of a preset's network by stage, and those that are trained: none of a frozen backbone.

    The running statistics of batch norms are no parameters.
    """
    model = Feelvos(configure(preset).model)
    rows: dict[str, tuple[int, int]] = {}
    for name, weights in model.named_parameters():
        stage = next(title for prefix, title in _STAGES if name.startswith(prefix))
        every, trained = rows.get(stage, (0, 0))
        rows[stage] = every + weights.numel(), trained + weights.numel() * weights.requires_grad
    rows["in all"] = sum(every for every, _ in rows.values()), sum(trained for _, trained in rows.values())
    lines = [f"{'stage':34}{'parameters':>12}{'trained':>12}"]
    return "\n".join(lines + [f"{stage:34}{every:12,}{trained:12,}" for stage, (every, trained) in rows.items()])
