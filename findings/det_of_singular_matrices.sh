#!/bin/sh
# torch 2.13.0 (CPU) and jax 0.10.2, float64: the derivative of a determinant is the matrix of cofactors, which a
# singular matrix has, too. torch.linalg.det gives zeros for it, in both modes, wherever the factorisation meets a
# pivot that is exactly zero, as in [[1, 2], [2, 4]] or where a column is zero; for a singular matrix whose last pivot
# is 1e-16 by rounding it is right, and torch.func.grad of the same function at the same matrix is right always.
# jax.numpy.linalg.det is right up to 3 x 3; from 4 x 4 on it gives zeros where the zero pivot is not the last. So a
# loss that is to leave the singular matrices (det = 0 is the worst case) gets no gradient there, and a check by
# differences finds it.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
print("torch", torch.__version__, "jax", jax.__version__)


def cofactors(A):
    rows = range(len(A))
    minor = lambda i, j: np.linalg.det(np.delete(np.delete(A, i, 0), j, 1))
    return np.array([[(-1) ** (i + j) * minor(i, j) for j in rows] for i in rows])


def by_torch_backward(A):
    A = torch.tensor(A, requires_grad=True)
    return torch.autograd.grad(torch.linalg.det(A), A)[0].numpy()


def by_torch_forward(A):
    A = torch.tensor(A)
    units = torch.eye(A.numel(), dtype=A.dtype).reshape(-1, *A.shape)
    return np.reshape([torch.func.jvp(torch.linalg.det, (A,), (unit,))[1].item() for unit in units], A.shape)


ways = {
    "torch.autograd.grad": by_torch_backward,
    "torch.func.jvp": by_torch_forward,
    "torch.func.grad": lambda A: torch.func.grad(torch.linalg.det)(torch.tensor(A)).numpy(),
    "jax.grad": lambda A: np.asarray(jax.grad(jax.numpy.linalg.det)(A)),
}
matrices = {
    "2 x 2, exact": ([[1, 2], [2, 4]], ["zeros", "zeros", "right", "right"]),
    "3 x 3, to rounding": ([[1, 2, 3], [2, 4, 6], [1, 0, 1]], ["right", "right", "right", "right"]),
    "4 x 4, zero at the end": (np.diag([2, 3, 5, 0]), ["zeros", "zeros", "right", "right"]),
    "4 x 4, zero before it": (np.diag([2, 0, 3, 5]), ["zeros", "zeros", "right", "zeros"]),
    "4 x 4, invertible": (np.diag([2, 7, 3, 5]), ["right", "right", "right", "right"]),
}
as_stated = True
for name, (matrix, expected) in matrices.items():
    A = np.asarray(matrix, float)
    found = []
    for way in ways.values():
        gradient = way(A)
        is_right = np.allclose(gradient, cofactors(A), atol=1e-9)
        found.append("right" if is_right else "zeros" if not gradient.any() else "other")
    print(f"{name:24}", *(f"{way} {what}" for way, what in zip(ways, found)), sep="  ")
    as_stated &= found == expected
sys.exit(0 if as_stated else 1)
PYTHON
