"""A fake device for machines without a GPU: its tensors ("there") do not mix with the CPU's ("here").

The CPU computes for it, so results can be compared bit for bit. It finds what a GPU rejects: two tensors of one
operation on two devices, a tensor there that is handed to numpy. In a block of `tf32_convolutions` it also rounds the
factors of convolutions as a GPU does by default. It cannot see other arithmetic of a GPU (the order of sums), nor what
a kernel launch costs: `experiments/benchmarks/gpu.py` counts the launches and times the maps on a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

THERE = torch.device("lazy", 0)  # a kind of device that torch knows by name and has no kernels for

_tf32 = False

_MOVES = {"aten::_to_copy", "aten::copy_"}  # from device to device


class Held(Tensor):
    """A tensor there; `held` is the one here that computes for it."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Held:
        with torch.inference_mode(False):  # else a view of a parameter could not be made in inference mode
            return Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                layout=held.layout,
                device=THERE,
            )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self, **_: object) -> str:
        return f"there: {self.held!r}"

    def tolist(self) -> Any:  # which torch has for no subclass, and a GPU has
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, _: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """A block in which `THERE` can be named as a device."""

    def __enter__(self) -> Elsewhere:
        self._lifts = torch._C._only_lift_cpu_tensors()  # a list becomes a tensor here first, then goes there
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._lifts)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, _: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextlib.contextmanager
def tf32_convolutions() -> Iterator[None]:
    """A block in which convolutions there have factors of 10 explicit bits, as cuDNN's have unless told otherwise."""
    global _tf32
    _tf32 = True
    try:
        yield
    finally:
        _tf32 = False


def let_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused optimizers have a list of devices, on which a GPU is and the pretended one is not."""
    for name in ("adam", "adamw"):  # of which torch 2.6 has two
        module = import_module(f"torch.optim.{name}")
        monkeypatch.setattr(module, "_device_dtype_check_for_fused", lambda _: None, raising=False)


def _rounded(x: Any) -> Any:
    """A float32 tensor rounded to the 10 explicit bits of TF32."""
    if not isinstance(x, Tensor) or x.dtype != torch.float32 or x.dim() < 2:
        return x
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    asked = kwargs.get("device")
    to_there = THERE in (asked, *(x for x in args if isinstance(x, torch.device)))
    tensors = [x for x in _leaves(args, kwargs) if isinstance(x, Tensor)]
    there = any(isinstance(x, Held) for x in tensors)
    if not there and not to_there:
        return func(*args, **kwargs)
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        with Elsewhere():
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
    name = func._schema.name
    may_mix = name in _MOVES or (name == "aten::index" and isinstance(args[0], Held))  # positions may be here
    if there and not may_mix and any(x.dim() for x in tensors if not isinstance(x, Held)):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device")
    if to_there:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args_here = tree_map(_here, args)
    if _tf32 and name == "aten::convolution":
        args_here = tree_map(_rounded, args_here)
    result = func(*args_here, **tree_map(_here, dict(kwargs)))
    stays = isinstance(args[0], Held) if name == "aten::copy_" else asked is None
    if not to_there and not stays:
        return result
    result = tree_map(lambda x: Held(x) if isinstance(x, Tensor) else x, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if there else result


def _leaves(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    for x in (*args, *kwargs.values()):
        if isinstance(x, (list, tuple)):
            yield from x
        else:
            yield x


def _here(x: Any) -> Any:
    return x.held if isinstance(x, Held) else x
