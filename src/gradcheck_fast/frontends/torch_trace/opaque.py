"""Operators of PyTorch as functions of real arrays, for steps that are differenced by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray
from gradcheck_fast.frontends.torch_trace.memory import WIDER


class OpaqueOperator:
    """An operator of PyTorch's as a function of real arrays.

    A complex tensor is given as a dict of its parts, and returned as an array that has these along a last axis.

    Parameters
    ----------
    namespace, name, overload : str
        Where it is found in `torch.ops`.
    """

    def __init__(self, namespace: str, name: str, overload: str) -> None:
        self._found_at = namespace, name, overload
        self.__name__, self.__module__ = name, f"torch.ops.{namespace}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        namespace, name, overload = self._found_at
        operator = getattr(getattr(getattr(torch.ops, namespace), name), overload)
        with torch.no_grad():
            found = operator(*_tensors(args), **_tensors(kwargs))
        return tuple(map(_real, found)) if isinstance(found, (tuple, list)) else _real(found)


def plain(output: Any) -> Any:
    """Returns the numbers of a tensor; other results as they are."""
    if not isinstance(output, torch.Tensor):
        return output
    output = output.detach()
    if output.layout is not torch.strided:
        output = output.to_dense()
    return output.to(WIDER.get(output.dtype, output.dtype)).resolve_conj().resolve_neg().cpu().numpy()


def _real(output: Any) -> Any:
    """Returns the numbers of a tensor: of a complex one, both parts along a last axis."""
    return plain(torch.view_as_real(output.resolve_conj()) if torch.is_complex(output) else output)


def _tensors(tree: Any) -> Any:
    """Replaces arrays by tensors of copies of them."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree.copy())
    if isinstance(tree, dict):
        if tuple(tree) == ComplexArray._fields:
            return torch.complex(*(torch.from_numpy(np.array(part, np.float64)) for part in tree.values()))
        return {key: _tensors(child) for key, child in tree.items()}
    return type(tree)(map(_tensors, tree)) if isinstance(tree, (tuple, list)) else tree


def kept(tree: Any) -> Any:
    """Copies the plain arrays among arguments, whose memory is PyTorch's; numbers become those of float64.

    Pairs become dicts.
    """
    if type(tree) is ComplexArray:
        return tree._asdict()
    if type(tree) is np.ndarray:
        return tree.astype({"f": np.float64, "c": np.complex128}.get(tree.dtype.kind, tree.dtype))
    if isinstance(tree, dict):
        return {key: kept(child) for key, child in tree.items()}
    return type(tree)(map(kept, tree)) if type(tree) in (tuple, list) else tree
