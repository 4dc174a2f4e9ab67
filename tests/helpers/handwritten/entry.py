"""What a loss of this collection is, and how its gradient is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Handwritten(NamedTuple):
    """A loss that is written in NumPy, where to take its gradient, and the gradient by other means.

    `needs` is the library that the loss imports besides NumPy, or empty; `reference_needs` is that of `reference`.
    """

    name: str
    loss: Callable[[Any], Any]
    params: Any
    reference: Callable[[Any], Any]
    needs: str = ""
    reference_needs: str = "torch"


def by_torch(cost: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """The gradient of the same loss in PyTorch: ``cost(torch, params)``, by its autograd in float64."""

    def reference(params):
        import torch

        tensors = _mapped(lambda array: torch.tensor(array, dtype=torch.float64, requires_grad=True), params)
        cost(torch, tensors).backward()
        return _mapped(lambda tensor: np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy(), tensors)

    return reference


def constant(torch, *arrays):
    """The same numbers as tensors: float64 ones, and indices as they are."""
    tensors = [torch.as_tensor(np.array(array)) for array in arrays]
    return tensors[0] if len(tensors) == 1 else tensors


def drawn(seed):
    """A function that draws normal arrays of a shape, always the same ones."""
    random = np.random.default_rng(seed)
    return lambda *shape, scale=1.0: scale * random.normal(size=shape)


def _mapped(function, tree):
    if isinstance(tree, dict):
        return {key: _mapped(function, branch) for key, branch in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_mapped(function, branch) for branch in tree)
    return function(tree)
