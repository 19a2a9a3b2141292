from __future__ import annotations


def parameter_table(preset: str) -> str:
    """The parameters of a preset's network by stage: the weights that a training could change, and those it does.

    The running statistics of batch norms are no parameters. A frozen backbone is not trained.

    Raises:
        LabError: an unknown preset.
    """
    from feelvos_lab.config import configure
    from feelvos_lab.model.feelvos import Feelvos

    model = Feelvos(configure(preset).model)
    rows: dict[str, tuple[int, int]] = {}
    for name, weights in model.named_parameters():
        stage = next(title for prefix, title in _STAGES if name.startswith(prefix))
        every, trained = rows.get(stage, (0, 0))
        rows[stage] = every + weights.numel(), trained + weights.numel() * weights.requires_grad
    rows["in all"] = sum(every for every, _ in rows.values()), sum(trained for _, trained in rows.values())
    lines = [f"{'stage':34}{'parameters':>12}{'trained':>12}"]
    return "\n".join(lines + [f"{stage:34}{every:12,}{trained:12,}" for stage, (every, trained) in rows.items()])


_STAGES = (  # the first prefix that fits gives a weight's stage
    ("backbone.", "backbone"),
    ("decoder.context.", "context (ASPP)"),
    ("decoder.", "decoder to stride 4"),
    ("embedding.", "embedding"),
    ("head.", "segmentation head, one an object"),
)
