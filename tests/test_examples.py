"""Each public function has an example in its docstring, and the examples hold."""

from __future__ import annotations

import doctest
import importlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from feelvos_lab.data.images import write_mask

FACES = ("", ".ablation", ".data", ".evaluation", ".inference", ".lessons", ".model.matching", ".training", ".widgets")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = {
    name: getattr(face, name)
    for face in (importlib.import_module(f"feelvos_lab{suffix}") for suffix in FACES)
    for name in face.__all__
}


def write_published_sets() -> None:
    """A clip of each published data set, cut to its first frames, in the current folder: what two examples read."""
    both = torch.zeros(480, 854, dtype=torch.int64)
    both[100:200, 100:200], both[300:400, 300:400] = 1, 2
    first = both * (both == 1)
    for images, masks, step, labels in (
        ("DAVIS/JPEGImages/480p/bike-packing", "DAVIS/Annotations/480p/bike-packing", 1, (both, both)),
        ("YouTube-VOS/train/JPEGImages/cat", "YouTube-VOS/train/Annotations/cat", 5, (first, both, both)),
    ):
        Path(images).mkdir(parents=True)
        for t, mask in enumerate(labels):
            Image.new("RGB", (854, 480)).save(f"{images}/{step * t:05d}.jpg")
            write_mask(f"{masks}/{step * t:05d}.png", mask)
    Path("DAVIS/ImageSets/2017").mkdir(parents=True)
    Path("DAVIS/ImageSets/2017/val.txt").write_text("bike-packing\n")
    objects = {"1": {"frames": ["00000", "00005", "00010"]}, "2": {"frames": ["00005", "00010"]}}
    Path("YouTube-VOS/train/meta.json").write_text(json.dumps({"videos": {"cat": {"objects": objects}}}))


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_has_an_example_that_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.chdir(tmp_path)
    if name in ("read_davis", "read_youtube_vos"):
        write_published_sets()
    (found,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name)
    assert found.examples, f"{name} has no example"
    printed = io.StringIO()
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(found, out=printed.write)
    assert not printed.getvalue(), printed.getvalue()


def test_the_readmes_python_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    scope: dict[str, Any] = {}
    exec(block, scope)
    assert len(scope["masks"]) == len(scope["clip"]) and scope["masks"][0].shape == scope["clip"].frames[0].shape[1:]
    assert scope["maps"].global_map.shape == scope["maps"].local_map.shape
    assert all(f"fl.{name}" in text or name in ("LabError", "film", "make_clip") for name in scope["fl"].__all__)


def test_a_face_lists_its_names_and_refuses_others() -> None:
    import feelvos_lab as fl
    from feelvos_lab import data

    assert len(fl.__all__) == 13 and set(fl.__all__) <= set(dir(fl))
    assert fl.make_clip is data.make_clip
    with pytest.raises(AttributeError, match="module 'feelvos_lab' has no attribute 'make_klip'"):
        _ = fl.make_klip


def test_importing_the_package_and_its_faces_loads_no_torch() -> None:
    code = "import sys, feelvos_lab, feelvos_lab.data, feelvos_lab.inference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
