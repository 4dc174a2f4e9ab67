"""Compares the operators of the front ends, on plain and on traced arrays, with PyTorch's in float64."""

import numpy as np

import gradcheck_fast as gf
from gradcheck_fast.frontends.graphs.graph_loss import graph_loss
from gradcheck_fast.inputs.trees import pack

#: How far values and gradients may be from PyTorch's, relative to the largest entry of the array.
TOLERANCE = 1e-13


def numbers(*shape, seed=0):
    """Returns an array of random numbers from a normal distribution."""
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def distance(found, expected):
    """Returns how far an array is from another one, relative to that; what is not finite must be the same."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    off = np.abs(found - expected)[finite].max(initial=0.0)
    return off / max(np.abs(expected[finite]).max(initial=0.0), 1e-300) if off else 0.0


def traced(ours, arrays):
    """Returns the loss of an operator that is traced, and computed on plain arrays where the library looks again."""
    return graph_loss(lambda of: float(ours(of)), lambda recording, of: ours(of), pack(arrays))


def gradient_of(ours, arrays):
    """Returns the chained gradient of an operator whose value is a number."""
    return gf.numerical_gradient(traced(ours, arrays), arrays, method="chain")


def agree(ours, theirs, arrays, tolerance=TOLERANCE):
    """Asserts that an operator has PyTorch's value, and its chained gradient that of autograd.

    `ours` and `theirs` take a dict of arrays and return an array. The loss is a weighted sum of its entries; as what is
    traced is confirmed by, PyTorch computes it.
    """
    import torch

    arrays = {name: np.array(array, np.float64, order="C") for name, array in arrays.items()}
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    expected = theirs(tensors)
    value = expected.detach().numpy()
    found = distance(ours(arrays), value)
    assert found <= tolerance, f"the value is off by {found:.1e}"
    weights = np.random.default_rng(8).normal(size=value.shape)
    (expected * torch.tensor(weights)).sum().backward()

    def loss(of):
        outputs = theirs({name: torch.tensor(array) for name, array in of.items()})
        return float((outputs * torch.tensor(weights)).sum())

    problem = graph_loss(loss, lambda recording, of: np.sum(ours(of) * weights), pack(arrays))
    gradient = gf.numerical_gradient(problem, arrays, method="chain")
    for name, tensor in tensors.items():
        back = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        found = distance(gradient[name], back)
        assert found <= tolerance, f"the gradient by {name} is off by {found:.1e}"
