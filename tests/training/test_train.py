"""Laws of training: it repeats, resumes, learns from the cues, and refuses what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.deterministic import deterministic
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import load_checkpoint, load_model, save_checkpoint, shipped_path
from feelvos_lab.model.feelvos import Feelvos, label_frame
from feelvos_lab.training import loop
from feelvos_lab.training.loop import train
from feelvos_lab.training.losses import batch_loss, hard_pixel_loss, kept_fraction
from feelvos_lab.training.optimizer import set_training
from feelvos_lab.training.samples import Rank, StepSampler, draw_sample

CONFIG = configure("smoke", steps=6, hard_anneal_steps=3)
CLIPS = make_clips("train", count=3, height=64, width=64, frames=6)


pytestmark = pytest.mark.usefixtures("one_thread")


def _differing(one: Feelvos, other: Feelvos) -> list[str]:
    theirs = other.state_dict()
    return [name for name, tensor in one.state_dict().items() if not torch.equal(tensor, theirs[name])]


def test_a_training_that_was_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole = train(CONFIG, seed=0, clips=CLIPS)
    train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, stop_after=2)
    train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, stop_after=5)
    resumed = train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path)
    assert _differing(whole.model, resumed.model) == []
    other = train(CONFIG, seed=1, clips=CLIPS)
    assert _differing(whole.model, other.model) != []


def test_training_on_several_threads_repeats_exactly() -> None:
    torch.set_num_threads(2)
    config = configure("smoke", steps=3)
    assert _differing(train(config, seed=0, clips=CLIPS).model, train(config, seed=0, clips=CLIPS).model) == []


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(configure("smoke", steps=1), seed=0, clips=CLIPS)
    assert torch.equal(torch.rand(3), expected)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, stop_after=1)
    with pytest.raises(LabError, match=r"seed 0, expected .* seed 1"):
        train(CONFIG, seed=1, clips=CLIPS, folder=tmp_path)
    with pytest.raises(LabError, match="belongs to configuration"):
        train(configure("smoke", steps=7), seed=0, clips=CLIPS, folder=tmp_path)


def test_training_without_clips_is_refused() -> None:
    with pytest.raises(LabError, match="at least one clip, got none"):
        train(CONFIG, seed=0, clips=[])


def test_a_loss_that_is_not_finite_stops_the_run_with_its_step() -> None:
    with pytest.raises(LabError, match=r"finite.* nan at step \d+ of seed 0"):
        train(configure("smoke", steps=30, learning_rate=1e18, optimizer="sgd"), seed=0, clips=CLIPS)


def test_the_loss_is_lower_with_the_cues_in_their_place_than_shuffled_over_the_image() -> None:
    trained = train(configure("smoke", steps=25, hard_anneal_steps=0, hard_fraction=1.0), seed=0, clips=CLIPS)
    model, clip = trained.model, make_clips("validation", count=1, height=64, width=64, frames=6)[0]
    with torch.no_grad():
        encoded = model.encode(clip.frames[:3].float() / 255)
        k = len(clip.object_ids) + 1
        first, previous = (label_frame(encoded.embeddings[i], clip.masks[i], num_objects=k) for i in range(2))
        cues = model.cues(encoded.features[2], encoded.embeddings[2], first, previous)
        target = label_frame(encoded.embeddings[2], clip.masks[2], num_objects=k).labels
        order = torch.randperm(target.numel(), generator=torch.Generator().manual_seed(0))
        shuffled = cues._replace(
            **{
                name: getattr(cues, name).flatten(1)[:, order].view(k, *target.shape)
                for name in ("global_map", "local_map", "previous_mask")
            }
        )
        placed, moved = (hard_pixel_loss(model.segment([c])[0], target, keep=1.0) for c in (cues, shuffled))
    assert placed < 0.7 * moved


def test_the_prediction_that_is_fed_back_carries_no_gradient_but_changes_the_loss() -> None:
    config = configure("smoke", unroll=2)
    torch.manual_seed(0)
    model = Feelvos(config.model).eval()
    sample = draw_sample(CLIPS, config=config.data, unroll=2, rng=np.random.default_rng(0))
    losses = {}
    for first_query in (sample.frames[2], torch.zeros_like(sample.frames[2])):
        frames = sample.frames.clone()
        frames[2] = first_query
        second_only = sample._replace(frames=frames, labels=sample.labels.clone())
        second_only.labels[2] = 255  # only the second query counts
        rngs = [np.random.default_rng(0)]
        losses[float(first_query.sum())] = batch_loss(model, [second_only], config=config, keep=1.0, rngs=rngs).item()
    assert len(set(losses.values())) == 2


@pytest.mark.parametrize("lead", [1, 3])
def test_what_is_predicted_first_has_no_loss_and_no_gradient_but_is_fed_back(lead: int) -> None:
    config = configure("smoke", unroll=1, rollout=3, mask_damage=0.0)
    torch.manual_seed(0)
    model = Feelvos(config.model).eval()
    with torch.no_grad():
        model.head.logit.weight.mul_(50)  # untrained, it would predict nearly the same for everything
    sample = draw_sample(CLIPS, config=config.data, unroll=lead + 1, rng=np.random.default_rng(0))
    frames = sample.frames.clone().requires_grad_()

    def loss(labels: torch.Tensor) -> torch.Tensor:
        changed = sample._replace(frames=frames, labels=labels)
        return batch_loss(model, [changed], config=config, keep=1.0, rngs=[np.random.default_rng(1)])

    whole = loss(sample.labels)
    whole.backward()
    reached = frames.grad.abs().sum((1, 2, 3)) > 0
    assert reached.tolist() == [True, *[False] * lead, True, True]
    without_targets = sample.labels.clone()
    without_targets[2 : 2 + lead] = 255
    assert torch.equal(loss(without_targets), whole)
    other_start = sample.labels.clone()
    other_start[1] = 0
    assert not torch.equal(loss(other_start), whole)  # handed on from prediction to prediction


def test_each_step_draws_how_far_it_predicts_first_the_same_for_its_whole_batch() -> None:
    config = configure("smoke", rollout=3, batch_size=2)
    whole = StepSampler([CLIPS], config=config, seed=0, share=Rank())
    counts = [{len(s.frames) - 2 - config.train.unroll for s in whole[step].samples} for step in range(20)]
    assert all(len(c) == 1 for c in counts)
    assert set.union(*counts) == {0, 1, 2, 3}
    each = configure("smoke", rollout=3, batch_size=2, draws="clip")
    halves = [StepSampler([CLIPS], config=each, seed=0, share=Rank(rank, 2)) for rank in (0, 1)]
    for step in range(10):
        assert len({len(half[step].samples[0].frames) for half in halves}) == 1


def test_the_ancestor_predicts_nothing_in_training_and_refuses_to() -> None:
    with pytest.raises(LabError, match=r"rollout is for method 'feelvos'.* got 2"):
        train(configure("smoke", method="pml", rollout=2), seed=0, clips=CLIPS)


def test_the_hardest_pixels_alone_count_once_the_annealing_is_over() -> None:
    assert kept_fraction(0, hard_fraction=0.15, anneal_steps=100) == 1.0
    assert kept_fraction(50, hard_fraction=0.15, anneal_steps=100) == pytest.approx(0.575)
    assert kept_fraction(1000, hard_fraction=0.15, anneal_steps=100) == 0.15
    assert kept_fraction(0, hard_fraction=0.15, anneal_steps=0) == 0.15
    logits = torch.zeros(2, 1, 10)
    logits[0, 0] = torch.arange(10.0)  # ever surer of the background
    labels = torch.ones(1, 10, dtype=torch.int64)
    hardest = torch.nn.functional.cross_entropy(logits[None, :, :, 8:], labels[None, :, 8:])
    assert hard_pixel_loss(logits, labels, keep=0.2).item() == pytest.approx(hardest.item())


def test_a_checkpoint_gives_the_model_and_its_configuration_back(tmp_path: Path) -> None:
    model = Feelvos(CONFIG.model).eval()
    save_checkpoint(tmp_path / "m.safetensors", model, CONFIG)
    loaded, config = load_checkpoint(tmp_path / "m.safetensors")
    assert config == CONFIG
    assert _differing(model, loaded) == []
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_weights_that_come_from_a_package_are_not_stored_again(tmp_path: Path) -> None:
    config = configure("real", context_dim=8, decoder_dim=8, embedding_dim=4, head_dim=4)
    model = Feelvos(config.model).eval()
    save_checkpoint(tmp_path / "m.safetensors", model, config)
    assert (tmp_path / "m.safetensors").stat().st_size < 300_000
    assert _differing(model, load_checkpoint(tmp_path / "m.safetensors")[0]) == []


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(LabError, match="no checkpoint at"):
        load_checkpoint(path)
    save_checkpoint(path, Feelvos(CONFIG.model), CONFIG)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabError, match=r"m\.safetensors is truncated"):
        load_checkpoint(path)
    path.write_bytes(whole.replace(b'\\"radius\\": 4', b'\\"radius\\": 5'))
    with pytest.raises(LabError, match=r"m\.safetensors is damaged"):
        load_checkpoint(path)


def test_a_model_is_loaded_by_the_name_of_its_preset_or_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model := Feelvos(CONFIG.model), CONFIG)
    for which in (path, str(path)):
        loaded = load_model(which)
        assert _differing(model, loaded) == [] and not loaded.training
    assert _differing(load_model("reduced"), load_checkpoint(shipped_path("reduced"))[0]) == []
    for which in ("full", "redused", tmp_path / "none"):
        with pytest.raises(LabError, match=rf"no checkpoint '{which}': expected a file, or a preset .*\(.*reduced.*\)"):
            load_model(which)


def test_a_training_state_is_no_checkpoint(tmp_path: Path) -> None:
    train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, stop_after=1)
    with pytest.raises(LabError, match="must be a 'feelvos_lab checkpoint"):
        load_checkpoint(tmp_path / "state.safetensors")


def test_a_checkpoint_is_not_written_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "m.safetensors", Feelvos(CONFIG.model), CONFIG)


def test_the_prediction_that_is_fed_back_is_one_hot_where_the_settings_say_hard() -> None:
    sample = draw_sample(CLIPS, config=CONFIG.data, unroll=2, rng=np.random.default_rng(0))
    losses = {}
    for feedback in ("soft", "hard"):
        config = configure("smoke", feedback=feedback, mask_damage=0.0)
        torch.manual_seed(0)
        model = Feelvos(config.model).eval()
        seen: list[torch.Tensor] = []
        model.head.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[1][:, 2]))
        losses[feedback] = batch_loss(model, [sample], config=config, keep=1.0, rngs=[np.random.default_rng(0)]).item()
        assert [bool(((mask == 0) | (mask == 1)).all()) for mask in seen] == [True, feedback == "hard"]
    assert losses["soft"] != losses["hard"]


def test_the_prediction_that_is_fed_back_carries_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = draw_sample(CLIPS, config=CONFIG.data, unroll=2, rng=np.random.default_rng(0))
    for feedback in ("soft", "hard"):
        config = configure("smoke", feedback=feedback)
        torch.manual_seed(0)
        model = Feelvos(config.model)
        seen, cues = [], model.cues

        def spy(*given, seen=seen, cues=cues):
            seen.append(given[3])
            return cues(*given)

        monkeypatch.setattr(model, "cues", spy)
        loss = batch_loss(model, [sample], config=config, keep=1.0, rngs=[np.random.default_rng(0)])
        assert loss.requires_grad and len(seen) == 2
        assert [previous.probabilities.requires_grad for previous in seen] == [False, False]


def test_the_loss_is_added_up_over_as_many_clips_as_the_settings_say() -> None:
    samples = [draw_sample(CLIPS, config=CONFIG.data, unroll=2, rng=np.random.default_rng(i)) for i in range(2)]
    torch.manual_seed(0)
    model = Feelvos(CONFIG.model).eval()
    mean, added = (
        batch_loss(
            model,
            samples,
            config=configure("smoke", clips_summed=count),
            keep=1.0,
            rngs=[np.random.default_rng(0)] * 2,
        ).item()
        for count in (1, 3)
    )
    assert added == pytest.approx(3 * mean)


def test_a_doubled_bias_gradient_moves_the_biases_alone_twice_as_far() -> None:
    before = train(configure("smoke", steps=1), seed=0, clips=CLIPS, stop_after=0).model.state_dict()
    moved = {}
    for factor in (1.0, 2.0):
        config = configure("smoke", steps=1, optimizer="sgd", bias_gradient=factor, clip_norm=1e9, learning_rate=1e-3)
        after = train(config, seed=0, clips=CLIPS).model.state_dict()
        moved[factor] = {name: after[name] - before[name] for name in after}
    for name, factor in (
        ("embedding.pointwise.bias", 2),
        ("head.layers.0.depthwise.bias", 2),
        ("head.logit.weight", 1),
    ):
        assert moved[1.0][name].any()
        assert torch.allclose(moved[2.0][name], factor * moved[1.0][name], rtol=1e-3, atol=1e-7), name
    norm = "decoder.low.1.bias"
    assert torch.allclose(moved[2.0][norm], moved[1.0][norm], rtol=1e-3, atol=1e-7)


def test_a_step_in_bfloat16_has_nearly_the_loss_of_float32_and_leaves_float32_weights() -> None:
    one, other = (
        train(configure("smoke", steps=1, precision=name), seed=0, clips=CLIPS, log_every=1)
        for name in ("float32", "bfloat16")
    )
    losses = [trained.history[0]["loss"] for trained in (one, other)]
    assert losses[0] != losses[1] and abs(losses[0] - losses[1]) < 0.02 * losses[0]
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in other.model.parameters())


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LabError, match=r"compile needs a C\+\+ compiler, found no no-such-compiler"):
        train(configure("smoke", steps=1, compile=True), seed=0, clips=CLIPS)


def test_training_compiles_the_backbone_alone_where_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for a compiler, and run without one: the weights are those of a training that is not compiled."""
    asked: list[object] = []
    trace = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda forward: asked.append(forward) or trace(forward))
    monkeypatch.setattr("feelvos_lab.training.loop.require_compiler", lambda: None)
    plain = train(configure("smoke", steps=1), seed=0, clips=CLIPS).model
    assert asked == []
    model = train(configure("smoke", steps=1, compile=True), seed=0, clips=CLIPS).model
    assert asked == [model.backbone.forward] and _differing(plain, model) == []
    assert "forward" not in vars(model.backbone)  # not compiled any more


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norms_keep_their_statistics_while_all_else_trains(frozen):
    model = Feelvos(configure("smoke").model).eval()
    set_training(model, replace(configure("smoke").train, freeze_norm=frozen))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all(norm.training is not frozen for norm in norms)
    assert model.training and model.head.training


@pytest.mark.parametrize("asked", [False, True])
def test_a_gpu_adds_in_a_fixed_order_only_where_that_is_asked_for(asked: bool) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic(asked):
        for device, expected in (("cpu", True), ("cuda", asked)):
            with loop._repeatable(device):
                assert torch.are_deterministic_algorithms_enabled() == expected
            assert torch.are_deterministic_algorithms_enabled() == asked or before
    assert torch.are_deterministic_algorithms_enabled() == before
