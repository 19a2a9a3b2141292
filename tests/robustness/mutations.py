"""One-line mutations of the library, each of which a test must notice: what `mutate.py` plants.

Each replaces a text that stands exactly once in its file (`test_mutations.py` holds that). `near` are the tests that
should notice it, which run first; the whole fast suite follows only where they do not.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """A wrong line for a right one."""

    name: str
    file: str  # below feelvos_lab/
    right: str
    wrong: str
    near: tuple[str, ...]  # test files below tests/, without test_ and .py

    @property
    def tests(self) -> list[str]:
        """The paths of the tests near it, from the project's root."""
        return ["tests/{}/test_{}.py".format(*name.split("/")) for name in self.near]


MATCHING = ("model/matching", "model/golden_matching")
MODEL = ("model/model", "model/golden_network")
TRAIN = ("training/train", "training/samples", "training/golden_training", "model/golden_network")
SCORE = ("evaluation/metrics", "evaluation/golden_metrics")
PML = ("model/pml",)
STATS = ("ablation/statistics",)
SWEEP = ("ablation/execute", "ablation/report", "ablation/fingerprint", "ablation/sweep")

MUTATIONS = (
    # The device
    Mutation(
        "apples-gpu-unchecked",
        "model/device.py",
        '    return torch.device("cpu") if reason else APPLE',
        "    return APPLE",
        ("model/apples_gpu",),
    ),
    Mutation(
        "apples-gpu-may-differ",
        "model/device.py",
        "<= TOLERANCE * float(expected.norm()):",
        "<= float(expected.norm()) + 9:",
        ("model/apples_gpu",),
    ),
    # The distance and the matching
    Mutation("distance-without-half", "model/matching/maps.py", "torch.tanh(sq / 2)", "torch.tanh(sq)", MATCHING),
    Mutation("gradient-of-half-the-square", "model/matching/maps.py", "2 * grad[", "1 * grad[", MATCHING),
    Mutation("gradient-to-reference-with-wrong-sign", "model/matching/maps.py", "alpha=-1)", "alpha=1)", MATCHING),
    Mutation(
        "product-term-halved",
        "model/matching/maps.py",
        "reference.t(), alpha=-2)",
        "reference.t(), alpha=-1)",
        MATCHING,
    ),
    Mutation(
        "negative-labels-kept", "model/matching/maps.py", "kept & (grouped >= 0)", "kept & (grouped >= -9)", MATCHING
    ),
    Mutation(
        "one-pixel-too-many", "model/matching/maps.py", "first < max_per_object", "first <= max_per_object", MATCHING
    ),
    Mutation(
        "absent-object-is-near",
        "model/matching/maps.py",
        "query.new_full(index.shape, torch.inf)",
        "query.new_full(index.shape, 0)",
        MATCHING,
    ),
    Mutation(
        "window-stays-on-the-processor",
        "model/matching/local_search.py",
        ".to(query)  #",
        ".to(query.dtype)  #",
        ("model/devices",),
    ),
    Mutation(
        "no-window-on-a-gpu", "model/matching/window_search.py", "table[near[0], near[1]] = 0", "table[:] = 0", MATCHING
    ),
    Mutation(
        "objects-share-references-on-a-gpu",
        "model/matching/slice_search.py",
        "kept[first : first + size][nearest]",
        "kept[nearest]",
        MATCHING,
    ),
    # The network
    Mutation("objects-do-not-compete", "model/head.py", "return logits.softmax(0)", "return logits.sigmoid()", MODEL),
    Mutation("objects-swap-clips", "model/head.py", "parts[0][owner]", "parts[0][owner.flip(0)]", MODEL),
    Mutation("skip-sum-forgotten", "model/head.py", "logits + self.skip(cues)", "logits", MODEL),
    Mutation(
        "head-layer-without-relu",
        "model/head.py",
        "self.pointwise(self.depthwise(x).relu()).relu()",
        "self.pointwise(self.depthwise(x)).relu()",
        MODEL,
    ),
    Mutation(
        "cues-in-another-order",
        "model/feelvos.py",
        "(global_map, local_map, previous_mask) if",
        "(local_map, global_map, previous_mask) if",
        MODEL,
    ),
    Mutation(
        "local-map-anywhere",
        "model/feelvos.py",
        'config.previous_matching == "local"',
        'config.previous_matching == "locally"',
        MODEL,
    ),
    Mutation(
        "previous-frame-is-the-first",
        "model/feelvos.py",
        "embeddings, previous.embeddings, previous.labels, num_objects=objects, radius",
        "embeddings, first.embeddings, first.labels, num_objects=objects, radius",
        MODEL,
    ),
    Mutation(
        "mask-cue-always-on",
        "model/feelvos.py",
        "previous.probabilities if config.previous_mask else None",
        "previous.probabilities",
        MODEL,
    ),
    Mutation(
        "unknown-pixels-are-background",
        "model/feelvos.py",
        "F.one_hot(small * known, num_objects) * known[..., None]",
        "F.one_hot(small * known, num_objects)",
        MODEL,
    ),
    Mutation("embedding-never-cut", "model/embedding.py", "if self.relu:", "if False:", MODEL),
    Mutation(
        "frames-not-standardised",
        "model/backbone.py",
        "self.net((images - self.mean) / self.std)",
        "self.net(images)",
        MODEL,
    ),
    Mutation("frozen-backbone-trains", "model/backbone.py", "mode and not self.frozen", "mode", MODEL),
    Mutation(
        "context-drops-the-image",
        "model/decoder.py",
        "parts.append(image.expand(-1, -1, *deep.shape[2:]))",
        "parts.append(0 * image.expand(-1, -1, *deep.shape[2:]))",
        MODEL,
    ),
    Mutation(
        "corners-not-aligned",
        "model/grid.py",
        'mode="bilinear", align_corners=True',
        'mode="bilinear", align_corners=False',
        MODEL,
    ),
    Mutation("labels-rounded-down", "model/grid.py", "* scale + 0.5)", "* scale)", MODEL),
    Mutation(
        "triplets-without-margin", "model/pml.py", "- negative[used] + margin)", "- negative[used])", ("model/pml",)
    ),
    # Data
    Mutation(
        "clip-moves-from-split-to-split",
        "data/synthetic.py",
        '"test": 2_000_000_000',
        '"test": 1_000_000_000',
        ("data/synthetic",),
    ),
    Mutation(
        "flip-of-the-frame-alone",
        "training/samples.py",
        "images, labels = self.rest(images, labels)",
        "images, labels = self.rest(images), self.rest(labels)",
        TRAIN,
    ),
    Mutation(
        "ignored-pixels-become-background",
        "training/samples.py",
        "indexed[every == IGNORE] = IGNORE",
        "indexed[every == IGNORE] = 0",
        TRAIN,
    ),
    Mutation(
        "pasted-object-has-no-label",
        "training/samples.py",
        "labels = torch.where(chosen, sample.num_objects, sample.labels)",
        "labels = torch.where(chosen, 0, sample.labels)",
        TRAIN,
    ),
    Mutation("cutout-stands-still", "training/samples.py", "place + k * pace", "place", ("training/cutouts",)),
    Mutation(
        "mask-of-another-size-accepted",
        "data/clip.py",
        "if tuple(mask.shape) != size:",
        "if False:",
        ("data/clip", "cli/bad_input"),
    ),
    # Training
    Mutation(
        "easiest-pixels-count",
        "training/losses.py",
        "losses.topk(max(1, int(np.float32(keep) * losses.numel()))).indices",
        "(-losses).topk(max(1, int(np.float32(keep) * losses.numel()))).indices",
        TRAIN,
    ),
    Mutation("rate-never-falls", "training/optimizer.py", "(1.0 - min(step, steps) / steps) ** power", "1.0", TRAIN),
    Mutation("mining-from-the-start", "training/losses.py", "min(1.0, step / anneal_steps)", "1.0", TRAIN),
    Mutation(
        "feedback-passes-gradient",
        "training/losses.py",
        "combine_objects(logits[b].detach())",
        "combine_objects(logits[b])",
        TRAIN,
    ),
    Mutation(
        "gradients-unclipped",
        "training/optimizer.py",
        "clip_each(model.parameters(), settings.clip_norm)",
        "clip_each(model.parameters(), 1e9)",
        TRAIN,
    ),
    Mutation(
        "biases-decay-too",
        "training/optimizer.py",
        "p.requires_grad and p.ndim > 1 and id(p) not in spared",
        "p.requires_grad and id(p) not in spared",
        TRAIN,
    ),
    Mutation(
        "norms-not-frozen",
        "training/optimizer.py",
        "                module.eval()",
        "                module.train()",
        TRAIN,
    ),
    Mutation(
        "optimizer-forgets",
        "training/state.py",
        "slots.setdefault(int(index), {})[slot] = tensor",
        "slots.setdefault(int(index), {})[slot] = torch.zeros_like(tensor)",
        TRAIN,
    ),
    Mutation("state-of-another-seed", "training/state.py", ' or notes["seed"] != str(self.seed)', "", TRAIN),
    # Scores
    Mutation(
        "overlap-over-the-truth-alone",
        "evaluation/metrics.py",
        "np.count_nonzero(prediction | truth)\n",
        "np.count_nonzero(truth)\n",
        SCORE,
    ),
    Mutation(
        "absent-scores-nothing",
        "evaluation/metrics.py",
        "/ union) if union else 1.0",
        "/ union) if union else 0.0",
        SCORE,
    ),
    Mutation(
        "first-frame-counts",
        "evaluation/metrics.py",
        "if 0 < frame < len(clip) - 1:",
        "if 0 <= frame < len(clip) - 1:",
        SCORE,
    ),
    Mutation("contour-in-a-square", "evaluation/metrics.py", "math.isqrt(radius * radius - dy * dy)", "radius", SCORE),
    Mutation("recall-includes-one-half", "evaluation/metrics.py", "(series > 0.5)", "(series >= 0.5)", SCORE),
    Mutation(
        "decay-turned-round",
        "evaluation/metrics.py",
        "series[edges[0] : edges[1] + 1].mean() - series[edges[3] : edges[4] + 1].mean()",
        "series[edges[3] : edges[4] + 1].mean() - series[edges[0] : edges[1] + 1].mean()",
        SCORE,
    ),
    # Statistics and sweeps
    Mutation(
        "seeds-not-drawn",
        "ablation/statistics.py",
        "((seed_weights @ sums) * clip_weights).sum(1)",
        "((np.ones_like(seed_weights) @ sums) * clip_weights).sum(1)",
        STATS,
    ),
    Mutation("two-sided-interval-one-sided", "ablation/statistics.py", "[0.025, 0.975])", "[0.05, 0.95])", STATS),
    Mutation(
        "unpaired", "ablation/statistics.py", "if len(both) != len(a) or len(both) != len(b):", "if False:", STATS
    ),
    Mutation(
        "one-seed-decides",
        "ablation/statistics.py",
        "if self.test is None or math.isnan(self.estimate.low):",
        "if math.isnan(self.estimate.low):",
        STATS,
    ),
    Mutation(
        "verdict-forgets-the-seeds",
        "ablation/statistics.py",
        'if self.spread == "seeds":',
        'if self.spread == "clips":',
        STATS,
    ),
    Mutation(
        "code-does-not-count",
        "ablation/fingerprint.py",
        "    parts += [meaning(code) for code in worker_code(notebook)]\n",
        "",
        SWEEP,
    ),
    Mutation(
        "stale-is-ok",
        "ablation/runs.py",
        'if written.get("fingerprint") != planned.fingerprint:',
        "if False:",
        SWEEP,
    ),
    Mutation(
        "notebook-may-disobey",
        "ablation/runs.py",
        "        if record[key] != value:",
        "        if False:",
        ("ablation/fingerprint",),
    ),
    Mutation(
        "rows-in-fractions",
        "ablation/results.py",
        "{c: 100 * s[c] for c in SCORES}",
        "{c: s[c] for c in SCORES}",
        SWEEP,
    ),
    Mutation(
        "dagger-forgotten",
        "ablation/tables.py",
        'shown["mean"] += np.where(table["seeds"] == 1, "†", "")',
        'shown["mean"] += np.where(table["seeds"] == 0, "†", "")',
        SWEEP,
    ),
    Mutation(
        "twins-run-twice",
        "ablation/spec.py",
        "        if variant.digest in seen:",
        "        if False:",
        ("ablation/spec",),
    ),
    Mutation("paper-misquoted", "ablation/paper.py", "_s(69.1)),", "_s(69.2)),", ("ablation/paper",)),
)

SURVIVORS: dict[str, str] = {}  # name → why no fast test notices it
