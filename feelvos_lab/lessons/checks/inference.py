"""Notebook 07: propagate the first mask through a clip."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from feelvos_lab.inference.propagation import propagate
from feelvos_lab.lessons.checks.exercise import Exercise, Mistake, parameters_of
from feelvos_lab.lessons.checks.stand_in import cases, settle
from feelvos_lab.lessons.checks.walks import (
    each,
    fed,
    fed_hard,
    from_full,
    hard_grid,
    low_labels,
    low_softmax,
    nearest,
    one_hot_of_nothing,
    unaligned,
    upscale,
    walk,
    whole,
)
from feelvos_lab.model.grid import resize_bilinear
from feelvos_lab.model.head import combine_objects

_MISTAKES = (
    Mistake(
        "truth",
        "the true mask of the previous frame is fed back; at test time there is none: feed back the prediction",
        (walk("truth"),),
    ),
    Mistake(
        "frozen",
        "the previous frame stays the first one; replace its embeddings and its mask after each frame",
        (walk("frozen"), walk("both-first")),
    ),
    Mistake(
        "late",
        "the previous frame is two frames back: it must be frame t − 1 when frame t is segmented",
        (walk("late"),),
    ),
    Mistake(
        "moving-first",
        "the first frame is replaced: `first` must stay, since its mask is the only one known to be right",
        (walk("moving-first"), walk("both-previous")),
    ),
    Mistake(
        "swapped",
        "`first` and `previous` look swapped in the call of `model.cues`: first comes first",
        (walk("swapped"),),
    ),
    Mistake(
        "old-part",
        "only a part of the previous frame is replaced; its embeddings, its labels and its probabilities all come from "
        "frame t",
        tuple(walk(how) for how in ("old-mask", "old-embeddings", "old-labels", "old-probabilities")),
    ),
    Mistake(
        "other-frame",
        "another frame than t is encoded, the one before or always the first: `clip.frames[t]`",
        (walk("frame-before"), walk("first-frame")),
    ),
    Mistake(
        "no-first-frame",
        "frame 0 is missing; yield its given mask as it is, without cues",
        (walk("no-first-frame"),),
    ),
    Mistake(
        "first-predicted",
        "frame 0 is predicted, and its mask is given: yield that mask as it is",
        (walk("no-first-mask"),),
    ),
    Mistake(
        "first-probabilities",
        "the probabilities of frame 0 are one-hot: 1 for the object of the mask, 0 for all others",
        (each(one_hot_of_nothing), each(lambda p: p if p.frame else p._replace(probabilities=0 * p.probabilities))),
    ),
    Mistake(
        "first-cues",
        "frame 0 has no cues, since its mask is given: the last part of its Prediction is None",
        (whole(lambda ps: [ps[0]._replace(cues=ps[1].cues if len(ps) > 1 else None), *ps[1:]]),),
    ),
    Mistake(
        "hard",
        "labels are fed back (one-hot), where `feedback` asks for probabilities: the softmax of the logits",
        (walk(known=fed_hard), walk(known=fed(hard_grid))),
    ),
    Mistake(
        "soft",
        "probabilities are fed back, where `feedback` asks for labels (hard); leave the argument out if you like",
        (walk("soft"),),
    ),
    Mistake(
        "logits",
        "the logits are fed back as they are; the previous mask holds probabilities: their softmax",
        (walk(known=fed(lambda logits: logits)), walk(known=fed(lambda logits: logits.log_softmax(0)))),
    ),
    Mistake(
        "sigmoid",
        "sigmoids are fed back, or softmaxes over the wrong axis; the probabilities of the objects sum to 1 at each "
        "cell",
        tuple(
            walk(known=fed(make))
            for make in (
                torch.sigmoid,
                lambda z: z.softmax(1),
                lambda z: z.softmax(2),
                lambda z: z.softmax(0).softmax(0),
            )
        ),
    ),
    Mistake(
        "from-full",
        "probabilities of full size look resized down and fed back; take the softmax of the logits on the small grid",
        tuple(from_full(labels, aligned=a) for labels in ("soft", "logits", "full") for a in (True, False)),
    ),
    Mistake(
        "not-scaled",
        "the network seems to get frames in 0 … 255; it expects numbers in 0 … 1",
        (walk(scale=lambda frame: frame.float()),),
    ),
    Mistake(
        "other-scale",
        "the frames are scaled in another way than by 1 / 255",
        tuple(
            walk(scale=scale)
            for scale in (
                lambda frame: frame.float() / 256,
                lambda frame: frame.float() / 127.5 - 1,
                lambda frame: frame.float() / 255 - 0.5,
                lambda frame: frame.float() / 128,
                lambda frame: frame.float() / 255 / 255,
                lambda frame: frame.float() / frame.max(),
                lambda frame: (frame // 255).float(),
            )
        ),
    ),
    Mistake(
        "channels",
        "the colours look reversed (BGR); the frames are RGB already",
        (walk(scale=lambda frame: frame.flip(0).float() / 255),),
    ),
    Mistake(
        "training",
        "the network is in training mode (`model.train()`), in which it gives other numbers; leave its mode as it is",
        (walk("train"),),
    ),
    Mistake(
        "no-cues",
        "the cues are missing in the predictions: Prediction(t, labels, probabilities, cues)",
        (each(lambda p: p._replace(cues=None)),),
    ),
    Mistake(
        "numbers",
        "the frames have wrong numbers: frame t has the number t, and frame 0 the number 0",
        (
            each(lambda p: p._replace(frame=p.frame + 1)),
            each(lambda p: p._replace(frame=0)),
            each(lambda p: p._replace(frame=max(1, p.frame))),
            each(lambda p: p._replace(frame=p.frame - 1), later=True),
            each(lambda p: p._replace(frame=p.frame + 1), later=True),
        ),
    ),
    Mistake(
        "last-missing",
        "the last frame is missing: `range(1, len(clip))` reaches it",
        (whole(lambda ps: ps[:-1] if len(ps) > 1 else ps),),
    ),
    Mistake(
        "only-first",
        "only one prediction is made; yield one for each frame, inside the loop",
        (whole(lambda ps: ps[:1]), whole(lambda ps: ps[-1:]), whole(lambda ps: ps[:2]), whole(lambda ps: [])),
    ),
    Mistake(
        "twice",
        "a frame is yielded more than once",
        (whole(lambda ps: [ps[0], *ps]), whole(lambda ps: [*ps, ps[-1]])),
    ),
    Mistake(
        "no-predictions",
        "the parts of a Prediction are not put together: yield `Prediction(t, labels, probabilities, cues)`",
        (
            each(lambda p: p.labels),
            each(lambda p: (p.frame, p.labels, p.probabilities, p.cues)),
            each(lambda p: {"frame": p.frame, "labels": p.labels}),
            whole(lambda ps: ps[0]),
            whole(lambda ps: ps[-1]),
            whole(lambda ps: None),
        ),
    ),
    Mistake(
        "small",
        "labels or probabilities have the size of the small grid; resize the logits to the frame, (H, W), first",
        (
            walk(answer=lambda logits, size: (logits.argmax(0), combine_objects(logits))),
            walk(answer=lambda logits, size: (upscale(logits, size)[0], combine_objects(logits))),
            walk(answer=lambda logits, size: (logits.argmax(0), upscale(logits, size)[1])),
        ),
    ),
    Mistake(
        "small-labels",
        "the labels are decided on the small grid and enlarged; resize the logits first, and decide then",
        (
            walk(answer=low_labels),
            walk(
                answer=lambda z, size: (
                    F.interpolate(z.argmax(0)[None, None].float(), size=size)[0, 0].long(),
                    upscale(z, size)[1],
                )
            ),
        ),
    ),
    Mistake(
        "small-softmax",
        "the probabilities come from the softmax on the small grid and are enlarged; resize the logits, and take the "
        "softmax then",
        (walk(answer=low_softmax), walk(answer=lambda z, size: (upscale(z, size)[0], low_softmax(z, size)[1]))),
    ),
    Mistake(
        "resizing",
        "the logits are resized in another way than by `resize_bilinear`, which aligns the corners",
        (walk(answer=unaligned), walk(answer=nearest)),
    ),
    Mistake(
        "raw-probabilities",
        "the probabilities are the logits themselves, their sigmoids or decisions; take the softmax "
        "(`combine_objects`)",
        (
            walk(answer=lambda z, size: (upscale(z, size)[0], resize_bilinear(z[None], size)[0])),
            walk(answer=lambda z, size: (upscale(z, size)[0], resize_bilinear(z[None], size)[0].sigmoid())),
            walk(answer=lambda z, size: (upscale(z, size)[0], hard_grid(resize_bilinear(z[None], size)[0]))),
        ),
    ),
    Mistake(
        "wrong-axis",
        "the softmax of the probabilities runs over rows, columns or pixels; it must run over the objects, the first "
        "axis",
        tuple(
            walk(answer=lambda z, size, d=d: (upscale(z, size)[0], resize_bilinear(z[None], size)[0].softmax(d)))
            for d in (1, 2)
        ),
    ),
    Mistake(
        "overwritten",
        "all predictions hold the same tensor, which the last frame has overwritten: create a new one for each frame",
        (
            whole(lambda ps: [p._replace(labels=ps[-1].labels) for p in ps]),
            whole(lambda ps: [p._replace(probabilities=ps[-1].probabilities) for p in ps]),
        ),
    ),
    Mistake(
        "wrong-choice",
        "the labels are not those of the largest logit over the objects: `argmax(0)`",
        (
            walk(answer=lambda z, size: (resize_bilinear(z[None], size)[0].argmin(0), upscale(z, size)[1])),
            walk(answer=lambda z, size: (upscale(z, size)[1][1:].argmax(0), upscale(z, size)[1])),
            walk(answer=lambda z, size: (upscale(z, size)[1][1:].argmax(0) + 1, upscale(z, size)[1])),
            walk(answer=lambda z, size: ((upscale(z, size)[0] > 0).long(), upscale(z, size)[1])),
        ),
    ),
    Mistake(
        "copied",
        "every frame has the first mask; nothing is predicted",
        (whole(lambda ps: [p._replace(labels=ps[0].labels, probabilities=ps[0].probabilities) for p in ps]),),
    ),
    Mistake(
        "count",
        "the number of objects K is not 1 + len(clip.object_ids): the background counts, and so do objects that the "
        "first mask does not show",
        (
            walk(count=lambda clip: int(clip.masks[0].max()) + 1),
            walk(count=lambda clip: len(clip.masks[0].unique())),
            walk(count=lambda clip: len(clip.object_ids)),
            walk(count=lambda clip: 2 + len(clip.object_ids)),
            walk(count=lambda clip: 2),
        ),
    ),
)

EXERCISES = (
    Exercise(
        "propagate",
        propagate,
        cases,
        mistakes=_MISTAKES,
        hints=(
            "Which two frames does `model.cues` compare with the current one, and which of the two changes?",
            "first = frame 0 with its mask, always; previous(1) = first; previous(t + 1) = frame t with softmax of its "
            "logits.",
            "count = 1 + len(clip.object_ids)\n"
            "embeddings = ...                                     # of frame 0, divided by 255\n"
            "first = previous = label_frame(..., num_objects=count)\n"
            "yield Prediction(0, ..., ..., None)                  # its mask, one-hot\n"
            "for t in range(1, len(clip)):\n"
            "    features, embeddings = ...                       # of frame t\n"
            "    cues = model.cues(features, embeddings, ..., ...)\n"
            "    logits = model.segment([cues])[0]                # (K, h, w)\n"
            "    full = ...                                       # (K, H, W)\n"
            "    yield Prediction(t, ..., ..., cues)\n"
            "    previous = Labelled(embeddings, ..., ...)        # labels and probabilities on the small grid",
            "mask, count = clip.masks[0], 1 + len(clip.object_ids)\n"
            "embeddings = model.encode(clip.frames[0][None].float() / 255).embeddings[0]\n"
            "first = previous = label_frame(embeddings, mask, num_objects=count)\n"
            "yield Prediction(0, mask, torch.stack([(mask == o).float() for o in range(count)]), None)\n"
            "for t in range(1, len(clip)):\n"
            "    features, embeddings = (x[0] for x in model.encode(clip.frames[t][None].float() / 255))\n"
            "    cues = model.cues(features, embeddings, first, previous)\n"
            "    logits = model.segment([cues])[0]                                    # (K, h, w)\n"
            "    full = resize_bilinear(logits[None], tuple(mask.shape))[0]           # (K, H, W)\n"
            "    yield Prediction(t, full.argmax(0), combine_objects(full), cues)\n"
            "    soft = combine_objects(logits)\n"
            "    previous = Labelled(embeddings, soft.argmax(0), soft)",
        ),
        optional=frozenset(p.name for p in parameters_of(propagate) if p.kind is p.KEYWORD_ONLY),
        settle=settle,
        axes=("object", "row", "column"),
    ),
)
