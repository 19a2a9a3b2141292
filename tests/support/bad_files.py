"""Files that are wrong: masks, frames, videos, data sets, checkpoints.

Each case: its name, the command, what is done to the folder of `bad_input_folder.py` before, and the error message.
TMP is the folder; a sentence that ends in … goes on in another library's words, or with a sum of its making.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from bad_input_folder import (
    HEIGHT,
    WIDTH,
    Case,
    both,
    cut,
    film,
    flipped,
    gone,
    huge_png,
    image,
    masked,
    meta,
    model,
    spoilt_model,
    text,
)
from safetensors.torch import save_file

from feelvos_lab.config import configure
from feelvos_lab.training.loop import train

SEGMENT = "segment TMP/video --mask TMP/mask.png --out TMP/out"
WITH_MODEL = SEGMENT + " --checkpoint TMP/model.safetensors"
FILM = "segment TMP/film.mp4 --mask TMP/mask.png --out TMP/out"
SCORE = "evaluate --data davis-2017 --data-root TMP/davis --predictions TMP/masks --out TMP/out"
TRAIN = "train --preset smoke --out TMP/out"
TRAIN_ON = TRAIN + " --set data=youtube-vos --data-root TMP/youtube"
ANNOTATION, LISTING = "davis/Annotations/480p/goat/00002.png", "davis/ImageSets/2017/val.txt"
CARD = '{"command": "", "digest": "", "preset": "", "seed": 0, "sha256": "00"}'
OLD_FORMAT = "feelvos_lab checkpoint 1"


def started(room: Path) -> None:
    train(configure("smoke"), seed=0, folder=room / "out", stop_after=1)


# fmt: off
CASES: list[Case] = [
    # masks
    ("mask of another size", SEGMENT, masked("mask.png", {1: 8}, width=47),
     "mask TMP/mask.png is 47×40, its frame TMP/video/00000.jpg is 48×40"),
    ("photo as a mask", SEGMENT,
     image("mask.png", np.arange(HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)),
     "mask TMP/mask.png holds more than 32 colours, expected one colour for each object: a photo, or an interpolated "
     "mask?"),
    ("interpolated mask", SEGMENT,
     image("mask.png", np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)),
     "mask TMP/mask.png holds 254 ids, expected at most 32: an interpolated mask (masks must be scaled by "
     "nearest neighbour)?"),
    ("grey mask with ids and white", SEGMENT, image("mask.png", np.tile(np.uint8([0, 3, 255]), (HEIGHT, WIDTH // 3))),
     "mask TMP/mask.png is grey and holds 255 (white) next to the ids 3, expected ids 1 to 254, or black "
     "and white only: an interpolated mask?"),
    ("16-bit mask", SEGMENT, image("mask.png", np.zeros((HEIGHT, WIDTH), np.uint16)),
     "mask TMP/mask.png must be an indexed, an 8-bit grey or an RGB image, got one of mode I;16"),
    ("empty mask", SEGMENT, masked("mask.png", {}),
     "the first mask TMP/mask.png is empty: at least one object was expected"),
    ("mask that is not there", SEGMENT, gone("mask.png"),
     "TMP/mask.png is missing: an image was expected"),
    ("mask that is text", SEGMENT, text("mask.png", "a mask"),
     "TMP/mask.png cannot be read as an image: it is no PNG, JPEG, BMP, GIF, WebP or TIFF, or its beginning is "
     "damaged"),
    ("mask of no bytes", SEGMENT, text("mask.png", ""),
     "TMP/mask.png cannot be read as an image: it is no PNG, JPEG, BMP, GIF, WebP or TIFF, or its beginning is "
     "damaged"),
    ("mask cut short", SEGMENT, cut("mask.png", -30),
     "TMP/mask.png cannot be read as an image: …"),
    ("mask with a bit flipped", SEGMENT, flipped("mask.png", at=0.95),
     "TMP/mask.png cannot be read as an image: broken PNG file …"),
    ("mask that claims to be huge", SEGMENT, huge_png("mask.png", width=60000, height=60000),
     "TMP/mask.png claims far more pixels than the 67,108,864 that an image may have"),
    ("mask that claims to be large", SEGMENT, huge_png("mask.png", width=10000, height=10000),
     "TMP/mask.png claims 10000×10000 pixels, at most 67,108,864 were expected"),
    ("mask that is a program for a printer", SEGMENT,
     text("mask.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 40\n"),
     "TMP/mask.png cannot be read as an image: it is no PNG, JPEG, BMP, GIF, WebP or TIFF, or its beginning is "
     "damaged"),
    ("mask in a folder without one", SEGMENT.replace("mask.png", "video"), None,
     "TMP/video holds no mask: .png or .bmp or .tif or .tiff or .webp files named like the frames were "
     "expected"),
    ("mask for no frame", SEGMENT.replace("TMP/mask.png", "9=TMP/mask.png"), None,
     "mask TMP/mask.png is for frame '9', expected one of 00000 to 00003"),
    ("two masks for one frame", SEGMENT + " --mask 0=TMP/mask.png", None,
     "frame 00000 has two masks, TMP/mask.png and TMP/mask.png: one was expected"),
    ("later mask of another size", SEGMENT + " --mask 2=TMP/late.png", masked("late.png", {2: 8}, width=47),
     "mask TMP/late.png is 47×40, its frame is 48×40"),
    ("only mask without an object", SEGMENT.replace("TMP/mask.png", "1=TMP/none.png"), masked("none.png", {}),
     "at least one mask with an object was expected, got TMP/none.png: no object in it"),
    ("later mask that is not there", SEGMENT + " --mask 2=TMP/nowhere.png", None,
     "TMP/nowhere.png is missing: an image was expected"),
    # frames and videos
    ("one frame", SEGMENT, gone("video/00001.jpg", "video/00002.jpg", "video/00003.jpg"),
     "clip 'video' has 1 frame, at least two are expected: the first carries the given mask"),
    ("frame left out", SEGMENT, gone("video/00002.jpg"),
     "TMP/video lacks number 2: 00001.jpg is followed by 00003.jpg, expected steps of 1"),
    ("frame number twice", SEGMENT, masked("video/00002.png", {1: 8}),
     "number 2 is there twice: TMP/video/00002.jpg and 00002.png"),
    ("frame without a number", SEGMENT, masked("video/last.png", {1: 8}),
     "TMP/video/last.png has no number: names such as 00000.png were expected"),
    ("folder without frames", SEGMENT.replace("video", "davis/ImageSets/2017"), None,
     "TMP/davis/ImageSets/2017 holds no .jpg or .jpeg or .png or .bmp or .tif or .tiff or .webp image, but .txt"),
    ("folder of folders with one mask", SEGMENT.replace("video", "masks"), None,
     "the clips in TMP/masks need --mask DIR, a folder with NAME.png or a folder NAME for each clip"),
    ("frames of two sizes", SEGMENT, image("video/00003.jpg", np.zeros((HEIGHT, 50, 3), np.uint8)),
     "all frames of a clip must have one size: TMP/video/00000.jpg is 48×40, TMP/video/00003.jpg is 50×40"),
    ("frame cut short", WITH_MODEL, both(model(), cut("video/00002.jpg", 700)),
     "TMP/video/00002.jpg cannot be read as an image: …"),
    ("frame of no bytes", SEGMENT, text("video/00002.jpg", ""),
     "TMP/video/00002.jpg cannot be read as an image: it is no PNG, JPEG, BMP, GIF, WebP or TIFF, or its beginning is "
     "damaged"),
    ("frame of 16 bits", WITH_MODEL, both(model(), image("video/00004.png", np.zeros((HEIGHT, WIDTH), np.uint16))),
     "frame TMP/video/00004.png must have 8 bits a channel, got an image of mode I;16"),
    ("frame that is a folder", SEGMENT, text("video/00004.jpg/file", ""),
     "TMP/video/00004.jpg is a folder: an image was expected"),
    ("video that is not there", FILM, None,
     "there is no TMP/film.mp4: a video or a folder of frames was expected"),
    ("video that is text", FILM, text("film.mp4", "a film"),
     "TMP/film.mp4 cannot be read as a video: …"),
    ("video cut short", FILM, both(film("film.mp4"), cut("film.mp4", -3000)),
     "TMP/film.mp4 is damaged or truncated: …"),
    ("video that lists others", FILM, text("film.mp4", "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/one.ts\n"),
     "TMP/film.mp4 cannot be read as a video: …"),
    ("video of another size than its mask", FILM, both(film("film.mp4"), masked("mask.png", {1: 8}, width=40)),
     "mask 0 of clip 'film' is 40×40, its frame is 48×40"),
    # data sets
    ("another folder as DAVIS", SCORE.replace("TMP/davis", "TMP/davis/JPEGImages"), None,
     "TMP/davis/JPEGImages is no DAVIS-2017 root: JPEGImages/480p was expected, there is 480p"),
    ("no root", SCORE.replace(" --data-root TMP/davis", ""), None,
     "data 'davis-2017' needs its folder, got none: pass --data-root or set `root`"),
    ("id that the first mask lacks", SCORE, masked(ANNOTATION, {1: 8, 3: 20}),
     "mask TMP/davis/Annotations/480p/goat/00002.png holds ids [3] that the first mask lacks: expected [1, 2]"),
    ("predicted id that the clip lacks", SCORE, masked("masks/goat/00001.png", {1: 8, 7: 20}),
     "the predicted mask of frame 1 of clip 'goat' holds ids [7], expected 0 and [1, 2]"),
    ("prediction of another size", SCORE, masked("masks/goat/00001.png", {1: 8}, width=47),
     "the predicted mask of frame 1 of clip 'goat' has shape (40, 47), its truth (40, 48)"),
    ("prediction left out", SCORE, gone("masks/goat/00002.png"),
     "TMP/masks/goat/00002.png is missing: an image was expected"),
    ("prediction of no clip", SCORE.replace("TMP/masks", "TMP/video"), None,
     "no predictions for clip 'goat': the folder TMP/video/goat was expected"),
    ("empty list", SCORE, text(LISTING, ""),
     "TMP/davis/ImageSets/2017/val.txt is empty: one sequence a line was expected"),
    ("list that is no text", SCORE, text(LISTING, b"\xff\xfe\x00"),
     "TMP/davis/ImageSets/2017/val.txt is no text: one sequence a line was expected"),
    ("sequence listed twice", SCORE, text(LISTING, "goat goat"),
     "TMP/davis/ImageSets/2017/val.txt names 'goat' twice: it would count double"),
    ("sequence that is not there", SCORE, text(LISTING, "goat cow"),
     "TMP/davis/JPEGImages/480p/cow is no folder: one with numbered images (.jpg) was expected"),
    ("frame without its mask", SCORE, gone(ANNOTATION, "davis/Annotations/480p/goat/00003.png"),
     "frame TMP/davis/JPEGImages/480p/goat/00002.jpg has no mask in TMP/davis/Annotations/480p/goat"),
    ("predictions and a checkpoint", SCORE + " --checkpoint TMP/model.safetensors", None,
     "--predictions scores given masks of a published data set, it cannot be combined with a checkpoint"),
    ("YouTube-VOS without frames", TRAIN_ON, meta({"videos": {"a": {"objects": {"1": {"frames": "00000"}}}}}),
     "TMP/youtube/train/meta.json must hold the videos of YouTube-VOS with the frames of each of their "
     "objects, got TypeError: frames must be a list, got '00000'"),
    ("YouTube-VOS with object 0", TRAIN_ON, meta({"videos": {"a": {"objects": {"0": {"frames": []}}}}}),
     "TMP/youtube/train/meta.json must hold the videos of YouTube-VOS with the frames of each of their "
     "objects, got ValueError: an object's id must be 1 to 254, got 0"),
    ("YouTube-VOS without a root", TRAIN_ON, None,
     "TMP/youtube is no YouTube-VOS root: train/JPEGImages was expected, it is not there"),
    # checkpoints, and the state of a training
    ("checkpoint that is not there", WITH_MODEL, None,
     "no checkpoint at TMP/model.safetensors"),
    ("checkpoint cut short", WITH_MODEL, both(model(), cut("model.safetensors", -100)),
     "TMP/model.safetensors is truncated or no safetensors file: …"),
    ("checkpoint with a bit of its weights flipped", WITH_MODEL, both(model(), flipped("model.safetensors", at=0.9)),
     "TMP/model.safetensors is damaged: its content must have sha256 …"),
    ("checkpoint that is text", WITH_MODEL, text("model.safetensors", "weights"),
     "TMP/model.safetensors is truncated or no safetensors file: …"),
    ("checkpoint of no bytes", WITH_MODEL, text("model.safetensors", ""),
     "TMP/model.safetensors is truncated or no safetensors file: …"),
    ("checkpoint that is pickled", WITH_MODEL,
     lambda room: torch.save({"a": torch.ones(1)}, room / "model.safetensors"),
     "TMP/model.safetensors is truncated or no safetensors file: …"),
    ("checkpoint of another project", WITH_MODEL,
     lambda room: save_file({"a": torch.ones(1)}, room / "model.safetensors"),
     "TMP/model.safetensors must be a 'feelvos_lab checkpoint 2' or a 'feelvos_lab checkpoint 1', its format "
     "is 'unnamed'"),
    ("checkpoint whose configuration was edited", WITH_MODEL, model(preset="reduced"),
     "TMP/model.safetensors is damaged: its content must have sha256 …"),
    ("checkpoint of the first format without its card", WITH_MODEL, model(format="feelvos_lab checkpoint 1"),
     "TMP/model.safetensors cannot be verified by its card: there is no TMP/model.json"),
    ("checkpoint with another's card", WITH_MODEL,
     both(model(format="feelvos_lab checkpoint 1"), text("model.json", CARD)),
     "TMP/model.safetensors cannot be verified by its card: TMP/model.safetensors must have sha256 00…, has …"),
    ("checkpoint that is not finite", WITH_MODEL, spoilt_model("head.logit.bias", float("nan")),
     "TMP/model.safetensors: tensor head.logit.bias must be finite, is not"),
    ("start that is not there", TRAIN + " --initialise-from TMP/model.safetensors", None,
     "no checkpoint at TMP/model.safetensors"),
    ("start that is not finite", TRAIN + " --initialise-from TMP/model.safetensors",
     spoilt_model("head.logit.bias", float("inf")),
     "TMP/model.safetensors: tensor head.logit.bias must be finite, is not"),
    ("state of another configuration", TRAIN + " --set steps=13", started,
     "TMP/out/state.safetensors belongs to configuration e2020984 seed 0, expected 94d3e7af seed 0; use "
     "another folder or delete it"),
    ("state with a bit flipped", TRAIN, both(started, flipped("out/state.safetensors", at=0.9)),
     "TMP/out/state.safetensors is damaged: its content must have sha256 …"),
    ("TensorFlow checkpoint that is not there", "import-tf TMP/model.ckpt --out TMP/new.safetensors", None,
     "no TensorFlow checkpoint at TMP/model.ckpt: TMP/model.ckpt.index is missing"),
    ("TensorFlow checkpoint that is text", "import-tf TMP/model.ckpt --out TMP/new.safetensors",
     text("model.ckpt.index", "an index"),
     "TMP/model.ckpt.index must be the index of a TensorFlow checkpoint (version 2), or is truncated"),
    ("TensorFlow checkpoint over a file", "import-tf TMP/model.ckpt --out TMP/mask.png", None,
     "TMP/mask.png exists already: choose another name for --out"),
]
