"""Networks beside the same ones in PyTorch: their costs and gradients in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch")


class Twins(NamedTuple):
    """A network's loss at some parameters, with the value and the gradient that PyTorch gives."""

    loss: Any
    params: Any
    value: float
    gradient: Any


def tensor(array: Any) -> Any:
    """An array as a tensor of its own, with its dtype."""
    return torch.from_numpy(np.array(array))


def twins(net: Any, X: Any, y: Any, cost: Any, *, params: Any = None, **data: Any) -> Twins:
    """`net` on data, beside ``cost(tensors)``, where the tensors are those of the parameters, by name."""
    params = net.init(1) if params is None else params
    leaves = {name: tensor(array).requires_grad_() for name, array in params.items()}
    total = cost(leaves)
    total.backward()
    gradient = {name: np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for name, leaf in leaves.items()}
    return Twins(net.loss(X, y, **data), params, total.item(), gradient)


def case(layer: Any, module: Any, shape: Any, *, integers: int | None = None, seed: int = 0) -> Twins:
    """A network of one layer, with a name, and squared error, beside a module or function of PyTorch's."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=shape) if integers is None else rng.integers(0, integers, shape)
    net = gf.Network(layer, gf.SquaredError(factor=0.5))
    y = rng.normal(size=net.output_shape(shape))

    def cost(leaves: Any) -> Any:
        own = {name.removeprefix("layer."): leaf for name, leaf in leaves.items()}
        out = (
            torch.func.functional_call(module, own, tensor(X))
            if isinstance(module, torch.nn.Module)
            else module(X, own)
        )
        assert tuple(out.shape) == y.shape
        return 0.5 * torch.nn.functional.mse_loss(out, tensor(y))

    return twins(net, X, y, cost)


def double(module: Any) -> Any:
    """A module in float64."""
    return module.double()


def require_same(case: Twins, tolerance: float = 1e-13) -> None:
    """The cost, the chained gradient, and that by single entries are those of PyTorch."""
    assert case.loss(case.params) == pytest.approx(case.value, rel=tolerance)
    chain = gf.numerical_gradient(case.loss, case.params, method="chain")
    single = gf.numerical_gradient(case.loss, case.params, method="incremental")
    size = max(np.abs(array).max() for array in case.gradient.values())
    for name, expected in case.gradient.items():
        own = np.abs(expected).max()
        scale = own if own > 1e-10 * size else size  # a bias before a normalisation has nothing but roundings
        assert np.abs(chain[name] - expected).max() <= tolerance * scale, name
        assert np.abs(single[name] - chain[name]).max() <= tolerance * scale, name
