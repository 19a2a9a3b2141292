"""Answers to `propagate`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from answers import right, wrong

from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.model.feelvos import Labelled, label_frame
from feelvos_lab.model.grid import resize_bilinear, resize_labels

WALK = "propagate"


def one_hot(mask, count):
    return torch.stack([mask == o for o in range(count)]).float()


def walk(model, clip, *, how=""):
    """A list of predictions; `how` names what is wrong."""
    size, count = tuple(clip.masks[0].shape), len(clip.object_ids) + 1
    results, first, previous = [], None, None
    for t in range(len(clip)):
        image = clip.frames[t][None] / (1 if how == "bytes" else 256 if how == "by 256" else 255)
        features, embeddings = (x[0] for x in model.encode(image))
        if t == 0:
            first = previous = kept = label_frame(embeddings, clip.masks[0], num_objects=count)
            given = one_hot(clip.masks[0], count)
            if how == "integers":
                given = F.one_hot(clip.masks[0], count).permute(2, 0, 1)
            if how != "late":
                results.append(Prediction(0, clip.masks[0], given, None))
            continue
        cues = model.cues(features, embeddings, *((previous, first) if how == "swapped" else (first, previous)))
        logits = model.segment([cues])[0]
        full = resize_bilinear(logits[None], size)[0]
        if how == "not aligned":
            full = F.interpolate(logits[None], size=size, mode="bilinear")[0]
        labels, probabilities = full.argmax(0), full.softmax(0)
        if how == "labels of the grid":
            labels = resize_labels(logits.argmax(0), size)
        if how == "softmax of the grid":
            probabilities = resize_bilinear(logits.softmax(0)[None], size)[0]
        if how == "float labels":
            labels = labels.float()
        results.append(Prediction(t, labels, probabilities, None if how == "no cues" else cues))
        known = Labelled(embeddings, logits.argmax(0), logits.softmax(0))
        small = tuple(logits.shape[1:])
        if how == "teacher":
            known = label_frame(embeddings, clip.masks[t], num_objects=count)
        if how == "labels":
            known = label_frame(embeddings, full.argmax(0), num_objects=count)
        if how == "logits":
            known = known._replace(probabilities=logits)
        if how == "from full":
            known = known._replace(probabilities=resize_bilinear(full.softmax(0)[None], small)[0])
        if how == "wrong axis":
            results[-1] = results[-1]._replace(probabilities=full.softmax(-1))
        if how == "old embeddings":
            known = known._replace(embeddings=previous.embeddings)
        if how == "late":
            previous, kept = kept, known
        elif how != "still":
            previous = known
        if how == "forgets":
            first = known
    return results


@right(WALK)
def propagate_by_list(model, clip):
    return walk(model, clip)


@right(WALK)
def propagate_by_generator(model, clip, feedback="soft"):
    count = 1 + len(clip.object_ids)
    height, width = clip.masks[0].shape
    e0 = model.encode(clip.frames[0].unsqueeze(0).float().div(255)).embeddings[0]
    first = label_frame(e0, clip.masks[0], num_objects=count)
    yield Prediction(0, clip.masks[0].clone(), F.one_hot(clip.masks[0], count).permute(2, 0, 1).float(), None)
    last = first
    for t in range(1, len(clip)):
        encoded = model.encode(clip.frames[t : t + 1].float() / 255.0)
        f, e = encoded.features.squeeze(0), encoded.embeddings.squeeze(0)
        cues = model.cues(f, e, first, last)
        (z,) = model.segment([cues])
        big = F.interpolate(z[None], size=(height, width), mode="bilinear", align_corners=True).squeeze(0)
        yield Prediction(frame=t, labels=big.argmax(dim=0), probabilities=torch.softmax(big, 0), cues=cues)
        soft = torch.softmax(z, 0)
        last = (
            label_frame(e, big.argmax(0), num_objects=count) if feedback == "hard" else Labelled(e, z.argmax(0), soft)
        )


@right(WALK)
@torch.no_grad()
def propagate_without_gradient(model, clip):
    yield from walk(model, clip)


@right(WALK)
@torch.inference_mode()
def propagate_in_inference_mode(model, clip, *, height=0):
    model.eval()
    yield from iter(walk(model, clip))


@right(WALK)
def propagate_by_tuple(model, clip):
    return tuple(walk(model, clip))


@right(WALK)
def propagate_with_state(model, clip):
    state = {}

    def step(t):
        count = 1 + len(clip.object_ids)
        out = model.encode(clip.frames[t].float()[None] / 255)
        e, mask = out.embeddings[0], clip.masks[0]
        if not state:
            state["first"] = state["previous"] = label_frame(e, mask, num_objects=count)
            return Prediction(t, mask, one_hot(mask, count), None)
        cues = model.cues(out.features[0], e, state["first"], state["previous"])
        z = model.segment([cues])[0]
        p = torch.nn.Upsample(size=mask.shape, mode="bilinear", align_corners=True)(z[None])[0].softmax(0)
        state["previous"] = Labelled(e, z.softmax(0).argmax(0), z.softmax(0))
        return Prediction(t, p.argmax(0), p, cues)

    return map(step, range(len(clip)))


def register(reason, how):
    def propagate_wrongly(model, clip):
        yield from walk(model, clip, how=how)

    wrong(WALK, reason)(propagate_wrongly)


register("true mask", "teacher")
register("stays the first one", "still")
register("first frame is replaced", "forgets")
register("frame 0 is missing", "late")
register("labels are fed back", "labels")
register(r"0 … 255", "bytes")
register("another way than by 1 / 255", "by 256")
register("swapped", "swapped")
register("cues are missing", "no cues")
register("logits are fed back", "logits")
register("full size", "from full")
register("part of the previous frame", "old embeddings")
register("small grid and enlarged", "labels of the grid")
register("softmax on the small grid", "softmax of the grid")
register("aligns the corners", "not aligned")
register("rows, columns or pixels", "wrong axis")
register("two frames back", "late")
register("int64|type", "integers")
register("float32|type", "float labels")


@wrong(WALK, "training mode")
def propagate_in_training_mode(model, clip):
    model.train()
    return walk(model, clip)


@wrong(WALK, "training mode")
def propagate_in_training_mode_for_a_while(model, clip):
    model.train()
    results = walk(model, clip)
    model.eval()
    return results


@wrong(WALK, "wrong numbers")
def propagate_numbers_from_one(model, clip):
    for t, p in enumerate(walk(model, clip), start=1):
        yield p._replace(frame=t)


@wrong(WALK, "last frame is missing")
def propagate_without_last(model, clip):
    return walk(model, clip)[: max(1, len(clip) - 1)]


@wrong(WALK, "only one prediction|yield")
def propagate_returns_one(model, clip):
    for p in walk(model, clip):
        return p


@wrong(WALK, "Prediction")
def propagate_tuples(model, clip):
    for p in walk(model, clip):
        yield p.frame, p.labels, p.probabilities, p.cues


@wrong(WALK, "return` missing")
def propagate_nothing(model, clip):
    walk(model, clip)


@wrong(WALK, "writes into the frames")
def propagate_writes_frames(model, clip):
    results = walk(model, clip)
    clip.frames[1:] //= 2
    return results


@wrong(WALK, "number of objects")
def propagate_counts_seen_objects(model, clip):
    from feelvos_lab.data.clip import Clip

    return walk(model, Clip(clip.name, clip.frames, clip.masks, tuple(range(1, int(clip.masks[0].max()) + 1))))


@wrong(WALK, "stopped after|was not expected|expected 3 predictions")
def propagate_for_ever(model, clip):
    results = walk(model, clip)
    while True:
        yield from results


@wrong(WALK, "library")
def propagate_of_library(model, clip):
    from feelvos_lab.inference import propagate as known

    yield from known(model, clip)


@wrong(WALK, "same tensor")
def propagate_overwrites(model, clip):
    labels = torch.zeros_like(clip.masks[0])
    for p in walk(model, clip):
        labels.copy_(p.labels)
        yield p._replace(labels=labels)


@wrong(WALK, "it has features, embeddings")
def propagate_of_a_pair(model, clip):
    yield Prediction(0, clip.masks[0], model.encode(clip.frames / 255).shape, None)
