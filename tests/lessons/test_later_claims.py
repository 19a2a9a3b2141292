"""What the texts of lessons 06, 07 and 12 say of their figures is so, computed from what the notebooks show."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from lesson_runs import cells_of, run_here, solve

from feelvos_lab.ablation import paper
from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import source
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.checkpoint import load_checkpoint, shipped_mismatch, shipped_path

pytestmark = pytest.mark.skipif(
    bool(shipped_mismatch(configure("reduced"), seed=0)), reason="the reduced model is not shipped"
)


def test_06_the_hardest_four_have_about_three_times_the_mean_loss(solved):
    losses = solved["06_training"][0]["losses"]  # the last one of that name: of a frame
    right = solved["06_training"][0]["right"]
    by_hand = -right.log()
    assert by_hand.flatten().topk(4).values.mean() == pytest.approx(3 * float(by_hand.mean()), rel=0.1)
    assert int((right > 0.5).sum()) == 13 and losses.shape == (96, 128)


def test_06_the_share_of_pixels_falls_first_and_the_rate_ends_at_zero(solved):
    share, rate = solved["06_training"][0]["lines"].values()
    quarter, half = len(share) // 4, len(share) // 2
    assert share[quarter] < rate[quarter] and share[-1] == 15 and rate[-1] == 0
    assert share[half] == 15 and 50 < rate[half] < 56


def test_06_one_pixel_of_four_is_taught_and_comes_to_meet_its_partner(solved):
    scope, _ = solved["06_training"]
    new, first = -scope["e_new"].grad[0], -scope["e_first"].grad[0]
    assert (first != 0).nonzero().tolist() == [[1, 2]] and (new != 0).nonzero().tolist() == [[1, 1]]
    assert float(new[1, 1]) > 0 and float(first[1, 2]) == pytest.approx(-float(new[1, 1]))


def test_06_the_curve_rises_while_the_network_learns(solved):
    scope, _ = solved["06_training"]
    history, loss = scope["trained"].history, scope["loss"]
    assert history[-1]["loss"] > 1.5 * history[0]["loss"]
    assert all(loss["after"][keep] < 0.8 * loss["before"][keep] for keep in loss["before"])


def test_06_told_the_truth_both_are_better_than_on_their_own_and_damage_is_what_one_met_and_one_did_not(solved):
    naive, warned = (solved["06_training"][0]["rows"][name] for name in ("true masks only", "also mistakes"))
    for row in (naive, warned):
        assert (
            row["with true masks"] > row["on its own"] + 10 and row["with true masks"] > row["with damaged masks"] + 5
        )
    lost = [row["with true masks"] - row["with damaged masks"] for row in (naive, warned)]
    assert lost[0] > lost[1] + 2


def test_06_the_trained_network_is_far_above_the_untrained_one_and_the_copied_mask(solved):
    scope, _ = solved["06_training"]
    model, _ = load_checkpoint(shipped_path("reduced"))
    rows = scope["scores"](scope["films"], lambda clip: [p.labels for p in propagate(model, clip)])
    j = {name: sum(r["J"] for r in way) / len(way) for name, way in (scope["alone"] | {"shipped": rows}).items()}
    assert j["shipped"] > max(j["before training"], j["first mask, copied"]) + 0.1


def test_06_a_third_of_the_mean_comes_from_pixels_that_are_right(solved):
    scope, printed = solved["06_training"]
    assert 30 < scope["share"] < 36
    assert "the first frame that get a gradient: it is 1;" in printed["moved"]
    assert "the 8 moves: it is not at all;" in printed["moved"]
    assert "the untrained network: it is as good;" in printed["untrained"]


def test_06_the_hard_pixels_lie_in_the_window_and_then_hold_nearly_all_of_the_loss(solved):
    scope, _ = solved["06_training"]
    clip, found = scope["films"][0], {}
    truth, left = clip.masks[1], clip.masks[0] != clip.masks[1]  # where the object just entered or left
    sides = torch.stack([truth > 0, truth == 0]).float()
    near = (F.max_pool2d(sides, 13, 1, 6) > 0).all(0)  # at most 6 pixels from the outline
    for name, network in scope["networks"].items():
        logits = scope["answers"](network, clip, clip.masks)[0]
        losses = F.cross_entropy(logits[None], truth[None], reduction="none")[0]
        hard = losses >= losses.flatten().topk(int(0.15 * losses.numel())).values[-1]
        found[name] = losses, hard, logits.argmax(0) != truth
    losses, hard, wrong = found["before"]
    held = F.max_pool2d((truth > 0)[None].float(), 2 * 4 * (4 + 1) + 1, 1, 4 * (4 + 1))[0] > 0  # the window, radius 4
    assert bool(held[hard].all()) and 0.4 < float(near[hard].float().mean()) < 0.65
    assert float(left[wrong].float().mean()) > 0.7 and bool(hard[wrong].all())
    losses, hard, wrong = found["after"]
    assert float(losses[hard].sum() / losses.sum()) > 0.9 and bool(hard[wrong].all())
    assert float((near | (truth > 0))[hard].float().mean()) > 0.75 and float((truth > 0)[hard].float().mean()) > 0.3
    assert int(hard.sum()) > 5 * int(wrong.sum())


def test_06_parameters_out_of_range_are_refused_by_name(tmp_path):
    with pytest.raises(LabError, match="preset must be 'smoke' or 'reduced', got 'full'"):
        run_here("06_training", tmp_path, change=solve, preset="full")
    with pytest.raises(LabError, match=r"steps must be a whole number from 1 to 100000, got 0"):
        run_here("06_training", tmp_path, change=solve, steps=0)
    assert not list(tmp_path.iterdir())


def test_07_the_local_map_alone_never_recovers_and_the_global_one_takes_the_stranger(solved):
    scope, _ = solved["07_inference_and_failure"]
    near, anywhere = (torch.cat([row.long() for row in scope[name]]) for name in ("near", "anywhere"))
    truth = (scope["film_rows"] == 3).long()
    truth[3, 1] = 0
    assert torch.equal(near[:2], truth[:2]) and not near[2:].any()
    assert torch.equal(anywhere[:3], truth[:3]) and (anywhere[3] - truth[3]).nonzero().tolist() == [[1]]


def test_07_soft_and_hard_feedback_score_alike_and_only_soft_keeps_doubts(solved):
    scope, _ = solved["07_inference_and_failure"]
    j, doubts = [], []
    for way in scope["ways"].values():
        rows = scope["frame_scores"]([p.labels for p in way], scope["mixed"])
        j.append(sum(r["J"] for r in rows) / len(rows))
        told = way[8].cues.previous_mask
        doubts.append(int(((told > 0.05) & (told < 0.95)).sum()))
    assert abs(j[0] - j[1]) < 0.1 and doubts[0] > 10 and doubts[1] == 0


def test_07_drift_is_missed_far_doubles_are_invented_and_to_leave_costs_little(solved):
    table = solved["07_inference_and_failure"][0]["table"]
    j = {name: row["J"] for name, row in table.items()}
    others = [j[name] for name in j if name not in ("drift", "far doubles")]
    assert max(j["drift"], j["far doubles"]) < j["nothing"] - 0.05
    assert (j["drift"] + j["far doubles"]) / 2 < sum(others) / len(others) - 0.05
    assert table["drift"]["missed"] > 0.6 and table["far doubles"]["invented"] > 0.6
    assert j["re-entry"] > j["nothing"] - 0.15 and j["re-entry"] > table["re-entry"]["J, copied mask"] + 0.3
    assert j["speed"] > table["speed"]["J, copied mask"] + 0.3


def test_07_the_last_answer_is_repeated_but_the_global_map_begins_what_doubles_do(solved):
    rows = solved["07_inference_and_failure"][0]["rows_of_blame"]
    for name in rows:
        assert min(rows[name]["all wrong cells", cue] for cue in ("local", "previous")) > 50, name
    double, drift = rows["far doubles"], rows["drift"]
    assert double["new wrong cells", "global"] > double["new wrong cells", "local"] + 15
    assert drift["new wrong cells", "global"] > drift["new wrong cells", "local"]
    assert double["all wrong cells", "local"] > double["new wrong cells", "local"] + 15


def test_07_what_returns_is_found_by_the_global_map_alone_and_then_grows(solved):
    scope, _ = solved["07_inference_and_failure"]
    back, there, true = scope["back"], scope["there"], scope["white"]["outline"]
    g, near = scope["g"][1], scope["near_previous"][1]
    assert bool(true.any()) and bool((near[true] == 1).all())
    assert float(g[true].median()) < 0.5
    assert there["visible"][back - 1] == 0 and there["visible"][back] > 0
    assert there["answered"][15] > there["answered"][back] > 0.1 * there["visible"][back]


def test_07_a_stranger_is_let_in_by_the_global_map_and_vouched_for_a_frame_later(solved):
    scope, _ = solved["07_inference_and_failure"]
    t, o, taken, said = scope["t"], scope["o"], scope["fresh"][scope["t"] - 1], scope["strangers"]
    maps = {at: (said[at].cues.global_map[o][taken], said[at].cues.local_map[o][taken]) for at in (t, t + 1)}
    assert int(taken.sum()) >= 10
    assert float(maps[t][0].median()) < 0.4 and float(maps[t][1].median()) > 0.8
    assert float(maps[t + 1][1].median()) < 0.4


def test_07_a_narrow_window_costs_on_fast_objects_and_a_wide_one_gains_nothing(solved):
    scope, _ = solved["07_inference_and_failure"]
    fast, still = (dict(zip(scope["radii"], values, strict=True)) for values in scope["j"].values())
    assert fast[1] < fast[4] - 5 and abs(fast[8] - fast[4]) < 5
    assert still[0] < still[4] and abs(still[1] - still[4]) < 8 and abs(still[8] - still[4]) < 5


def test_07_the_bar_is_taken_for_object_2_and_object_1_is_lost_behind_it(solved):
    scope, _ = solved["07_inference_and_failure"]
    clip, labels = scope["mixed"], scope["answered"]
    invented = [int(((m == 2) & (true == 0)).sum()) for m, true in zip(labels, clip.masks, strict=True)]
    assert invented[1] < 100 < 400 < min(invented[2:11]) and max(invented[12:]) < 100
    assert all(
        int((m == 1).sum()) < 20 < int((t == 1).sum()) for m, t in zip(labels[13:], clip.masks[13:], strict=True)
    )


def test_07_three_kinds_cost_and_the_copied_mask_is_ahead_on_two(solved):
    scope, printed = solved["07_inference_and_failure"]
    table = scope["table"]
    hard, easy = ("drift", "occlusion", "far doubles"), ("nothing", "re-entry", "near doubles", "speed")
    assert max(table[n]["J"] for n in hard) < min(table[n]["J"] for n in easy) - 0.05
    assert scope["behind"] == ["drift", "far doubles"]
    assert abs(table["occlusion"]["J"] - table["occlusion"]["J, copied mask"]) < 0.06
    assert table["drift"]["missed"] > 0.6 and min(table[n]["invented"] for n in ("occlusion", "far doubles")) > 0.6
    assert "it is drift;" in printed["cost"] and "copied mask is ahead: it is 2;" in printed["cost"]


def test_07_the_global_map_leads_among_new_errors_exactly_where_it_costs(solved):
    scope, _ = solved["07_inference_and_failure"]
    for name, row in scope["rows_of_blame"].items():
        by = {cue: row["new wrong cells", cue] for cue in ("global", "local", "previous")}
        leads = max(by, key=by.get)
        assert (leads == "global") == (name in ("drift", "occlusion", "far doubles")), name
        assert leads == "global" or by["local"] == max(by.values()), name


def test_07_more_than_half_of_what_returns_is_found_at_once(solved):
    scope, printed = solved["07_inference_and_failure"]
    assert 50 < scope["found"] < 85 and scope["back"] == 11
    assert "returned object: it is 1;" in printed["recall"]
    ground = ~scope["white"]["outline"]
    assert float((scope["g"][1][ground] < 0.4).float().mean()) > 0.1  # bright on much of the ground, too


def test_07_in_real_video_the_local_map_sides_with_nearly_every_error_and_the_first_frame_alone_with_few(solved):
    scope, printed = solved["07_inference_and_failure"]
    assert "real video: bunny, the first 17 of 41 frames" in printed["given"] and scope["known"] == [8, 16]
    both, first, local, none = scope["shares"].values()
    assert both + local > 0.85 and 0.3 < both < 0.6 and first < 0.1 and none < 0.1
    assert scope["film"].name == "bunny" and "preset real" in printed["real"]


def test_07_the_programs_on_paper_fail_in_the_frames_that_are_revealed(solved):
    printed = solved["07_inference_and_failure"][1]["paper-wrong"]
    assert "the local program is wrong: it is 2;" in printed and "the global program is wrong: it is 3;" in printed


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """Lesson 12, run with its own parameters: its names, and what its cells printed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    desk = tmp_path_factory.mktemp("after")
    scope, printed = run_here("12_what_came_after", desk, change=str)
    torch.set_num_threads(threads)
    drawn = {path.name for path in (desk / "figures").glob("*.png")}
    assert drawn == {"12-memory.png", "12-vote.png", "12-window.png", "12-score.png"}
    return scope, printed


def test_12_the_map_to_a_memory_is_the_smallest_of_its_maps(after):
    scope, printed = after
    assert torch.equal(scope["pooled"], torch.stack(scope["single"]).amin(0))
    assert "frame 0 alone: it is 1;" in printed["paper"] and "all three frames: it is 3;" in printed["paper"]
    first, memory = scope["maps"].values()
    assert bool((memory <= first + 1e-6).all()) and bool((memory[0] < first[0] - 0.01).any())  # the background, too


def test_12_a_memory_brings_an_aged_object_back_and_brightens_what_is_outside(after):
    first, memory = after[0]["scores_of_maps"].values()
    assert first["mean inside"] > 0.5 > 0.35 > memory["mean inside"]
    assert memory["cells of object 1 found, %"] > first["cells of object 1 found, %"] + 25
    assert memory["bright cells outside"] > first["bright cells outside"]


def test_12_a_vote_of_this_embedding_is_below_the_minimum_and_approaches_it(after):
    scope, printed = after
    votes, least = scope["votes"], scope["least"]
    assert votes[0] < least - 15 and abs(votes[-1] - least) < 3
    assert all(b > a - 1 for a, b in pairwise(votes)) and "it is the minimum;" in printed["read"]
    assert float((scope["references"].labels == 0).float().mean()) > 0.7  # most pixels are background


def test_12_only_the_window_leaves_the_look_alike_out(after):
    scope, printed = after
    first, memory, anywhere, window = scope["bright"].values()
    assert min(first, memory, anywhere) > 40 and window < 5 and memory > max(first, anywhere)
    assert "bright on the look-alike: it is 3;" in printed["window-figure"]


def test_12_own_answers_in_the_memory_help_where_colours_drift_and_hardly_with_look_alikes(after):
    scope, printed = after
    alone, own, known = scope["table"]["drifting colours"].values()
    assert own > alone + 4 and known > own + 3
    alone, own, known = scope["table"]["look-alikes"].values()
    assert abs(own - alone) < 2 and known > own
    assert "a memory of its own answers: it is above frame 0 alone;" in printed["table"]
    curves = [{t: [r["J"] for r in rows if r["frame"] == t] for t in range(1, 15)} for rows in scope["scores"].values()]
    assert curves[0][5] == curves[1][5] and sum(curves[1][14]) > sum(curves[0][14]) + 0.4  # frame 5 joins after itself


def test_12_its_numbers_are_those_of_the_papers_rows_that_this_project_has(after):
    (feelvos,) = (row for row in paper.DAVIS_2017_VAL.rows if row.key == "feelvos")
    text = next(source(c) for c in cells_of("12_what_came_after") if c["id"] == "six")
    assert f"| FEELVOS (2019) | {feelvos.JF.text()} |" in text and f"against {feelvos.J.text()} of FEELVOS" in text


def test_12_a_frame_that_cannot_join_the_memory_is_refused_by_name(tmp_path):
    with pytest.raises(LabError, match=r"memory\[1\] must be a whole number from 1 to 10, got 12"):
        run_here("12_what_came_after", tmp_path, change=str, memory=[5, 12])
