"""Make reference.json and masks.npz here with the official evaluation; see README.md for the command."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from davis2017.evaluation import DAVISEvaluation
from davis2017.metrics import db_eval_boundary, db_eval_iou
from davis2017.utils import db_statistics
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

HERE = Path(__file__).parent
RNG = np.random.default_rng(20190607)


def blob(height: int, width: int, *, smooth: float, share: float) -> np.ndarray:
    noise = gaussian_filter(RNG.standard_normal((height, width)), smooth)
    return noise > np.quantile(noise, 1 - share)


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    cases = {}
    # 75×100 and 300×400: diagonals whose tolerance is a whole number of pixels; 5×7: radius 1; 480×854: DAVIS
    sizes = [(48, 64), (61, 83), (75, 100), (96, 128), (5, 7), (300, 400), (119, 40), (480, 854)]
    for number, (height, width) in enumerate(sizes):
        truth = blob(height, width, smooth=max(1, height / 12), share=0.3)
        moved = shift(truth.astype(float), (height * 0.03, -width * 0.02), order=1, mode="nearest") > 0.5
        cases[f"moved_{number}"] = (moved, truth)
        cases[f"other_{number}"] = (blob(height, width, smooth=max(1, height / 15), share=0.2), truth)
    empty, full, one = np.zeros((40, 50), bool), np.ones((40, 50), bool), np.zeros((40, 50), bool)
    one[0, 0] = True
    corner = np.zeros((40, 50), bool)
    corner[39, 49] = True
    noise = RNG.random((40, 50)) > 0.5
    edge = np.zeros((40, 50), bool)
    edge[:, 30:] = True
    named = {"empty": empty, "full": full, "one": one, "corner": corner, "noise": noise, "edge": edge}
    for name, prediction in named.items():
        for other, truth in named.items():
            cases[f"{name}_{other}"] = (prediction, truth)
    return cases


def sequences() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Truth and prediction (T, H, W): a lost object, one that the prediction never has, one that leaves."""
    made = {}
    for name, frames, objects in (("three", 11, 3), ("two", 6, 2), ("lost", 9, 2)):
        truth = np.zeros((frames, 48, 64), np.uint8)
        predicted = np.zeros_like(truth)
        masks = [blob(48, 64, smooth=5, share=0.25) for _ in range(objects)]
        for t in range(frames):
            for number, mask in enumerate(masks, start=1):
                truth[t][np.roll(mask, t, axis=1)] = number
                predicted[t][np.roll(mask, (t // 3, t + t // 2), axis=(0, 1))] = number
        if name == "lost":
            predicted[predicted == 2] = 0
        if name == "two":
            truth[3:][truth[3:] == 1] = 0
            predicted[4:][predicted[4:] == 1] = 0
        made[name] = (truth, predicted)
    return made


def write(folder: Path, masks: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for t, mask in enumerate(masks):
        image = Image.fromarray(mask)
        image.putpalette(list(range(256)) * 3)
        image.save(folder / f"{t:05d}.png")


def official_evaluation(made: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, dict[str, list[float]]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, (truth, predicted) in made.items():
            write(root / "Annotations/480p" / name, truth)
            write(root / "results" / name, predicted)
            frames = root / "JPEGImages/480p" / name
            frames.mkdir(parents=True)
            for t in range(len(truth)):
                (frames / f"{t:05d}.jpg").touch()
        (root / "ImageSets/2017").mkdir(parents=True)
        (root / "ImageSets/2017/val.txt").write_text("\n".join(made) + "\n")
        scores = DAVISEvaluation(str(root), "semi-supervised", "val").evaluate(str(root / "results"))
    names = list(scores["J"]["M_per_object"])
    return {
        name: {
            "J": [scores["J"][key][index] for key in "MRD"],
            "F": [scores["F"][key][index] for key in "MRD"],
        }
        for index, name in enumerate(names)
    }


def main() -> None:
    cases, made = pairs(), sequences()
    arrays, reference = {}, {"pairs": {}, "statistics": [], "sequences": official_evaluation(made)}
    for name, (prediction, truth) in cases.items():
        arrays[f"pair/{name}"] = np.packbits(np.stack([prediction, truth]))
        j, f = float(db_eval_iou(truth, prediction)), float(db_eval_boundary(truth, prediction))
        reference["pairs"][name] = {"size": truth.shape, "J": j, "F": f}
    for name, (truth, predicted) in made.items():
        arrays[f"truth/{name}"], arrays[f"predicted/{name}"] = truth, predicted
    for length in (1, 2, 3, 4, 5, 6, 7, 18, 23, 38, 67, 102):
        values = RNG.random(length).round(6)
        mean, recall, decay = map(float, db_statistics(values))
        reference["statistics"].append({"values": values.tolist(), "mean": mean, "recall": recall, "decay": decay})
    np.savez_compressed(HERE / "masks.npz", **arrays)
    (HERE / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")


if __name__ == "__main__":
    main()
