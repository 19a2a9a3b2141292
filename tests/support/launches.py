"""Count the operations of a block that would be kernel launches on a GPU, on a machine without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_FREE = {"aten::empty.memory_format", "aten::new_empty", "aten::_unsafe_view", "aten::promote_types"}

_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::bincount"}  # a result has to be on the CPU to go on


class Launches(TorchDispatchMode):
    """A block whose operations are counted by name; one that a GPU needs several kernels for (a sort) counts once."""

    def __enter__(self) -> Launches:
        self.by_name: Counter[str] = Counter()
        self.waits = 0
        self.largest = 0  # bytes of the largest result
        return super().__enter__()

    @property
    def total(self) -> int:
        return self.by_name.total()

    def __torch_dispatch__(self, func: Any, _: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        name = func.name()
        view = any(given.alias_info and not given.alias_info.is_write for given in func._schema.arguments)
        self.waits += name in _WAITS
        if not view and name not in _FREE and name != "aten::_local_scalar_dense":
            self.by_name[name] += 1
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not view:
            self.largest = max(self.largest, result.nbytes)
        return result
