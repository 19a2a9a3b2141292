"""Segmented frames as a file in the form of the data set COCO, for other tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import LazyFrames
from feelvos_lab.files.atomic import write_text
from feelvos_lab.inference.rle import encode_rle

Append = Callable[[int, Tensor], None]


@contextmanager
def open_coco(path: Path | str, clip: Clip, names: Sequence[str]) -> Iterator[Append]:
    """Yields a function that takes a frame's index and its mask (H, W) of ids; the file is written when the block ends.

    An annotation is an object in a frame where it has pixels: `segmentation` (see `encode_rle`), `bbox`
    [left, top, width, height] and `area` in pixels. `category_id` and `track_id` are the object's id. An image is a
    frame; its `file_name` is that of the frame's file, or of its mask where a video has no such files. Each run length
    is kept until the end: about 1 kB for an object in a frame.

    Args:
        names: of the frames, as those of the masks.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> import torch
        >>> from feelvos_lab import make_clip
        >>> from feelvos_lab.inference.coco import open_coco
        >>> clip = make_clip(1, height=32, width=32, frames=2, objects=1)
        >>> with open_coco("coco.json", clip, ["00000", "00001"]) as append:
        ...     append(0, torch.eye(32, dtype=torch.int64))
        >>> written = json.loads(Path("coco.json").read_text())
        >>> written["images"][0]["file_name"], written["annotations"][0]["track_id"]
        ('00000.png', 1)
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def append(frame: int, labels: Tensor) -> None:
        height, width = labels.shape
        files = clip.frames.paths if isinstance(clip.frames, LazyFrames) else None
        name = files[frame].name if files else f"{names[frame]}.png"
        size = {"file_name": name, "height": height, "width": width}
        images.append({"id": frame + 1, "video_id": 1, "frame_id": frame, **size})
        for object_id in clip.object_ids:
            mask = labels == object_id
            rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
            if not len(rows):
                continue
            top, left = int(rows[0]), int(columns[0])
            annotation = {"id": len(annotations) + 1, "image_id": frame + 1}
            annotation |= {"category_id": object_id, "track_id": object_id, "iscrowd": 0, "area": int(mask.sum())}
            annotation |= {"bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]}
            annotations.append({**annotation, "segmentation": encode_rle(mask)})

    yield append
    content = {
        "videos": [{"id": 1, "name": clip.name}],
        "images": images,
        "categories": [{"id": object_id, "name": f"object {object_id}"} for object_id in clip.object_ids],
        "annotations": annotations,
    }
    write_text(path, json.dumps(content) + "\n")
