"""A context in which PyTorch calls it for every operation on this thread."""

from __future__ import annotations

import sys
from types import MethodType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Mode(TorchDispatchMode):  # type: ignore[misc]
    """A context in which PyTorch calls `__torch_dispatch__` of it for every operation on this thread."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        if "torch._dynamo" in sys.modules:  # the compiler has been imported: it must not compile this
            left_alone = torch._disable_dynamo(type(self).__torch_dispatch__)
            self.__dict__["__torch_dispatch__"] = MethodType(left_alone, self)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Says no. PyTorch's own version of this would import its compiler, which takes a second."""
        return False


def name_of(operation: Any) -> str:
    """Returns an operation's name without its overload; "" if it is no plain operation, such as torch.cond."""
    return operation.overloadpacket.__name__ if isinstance(operation, torch._ops.OpOverload) else ""


def tensors_in(tree: Any) -> list[torch.Tensor]:
    """Returns the tensors among the arguments or results of an operation."""
    found: list[torch.Tensor] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[torch.Tensor]) -> None:
    if isinstance(tree, torch.Tensor):
        found.append(tree)
    elif isinstance(tree, (tuple, list, dict)):
        for child in tree.values() if isinstance(tree, dict) else tree:
            _collect(child, found)
