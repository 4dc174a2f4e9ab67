#!/bin/sh
# torch 2.13.0 (CPU), float64: cholesky_solve and cholesky_inverse read the lower triangle of the factor alone (the
# value is the same with a seven above the diagonal), but their gradients have entries above the diagonal, and those
# entries, and even the ones on the diagonal, change with what is stored above. Forward mode of cholesky_inverse is
# wrong below the diagonal as well, where reverse mode is right if the rest is zero. triangular_solve is right in
# reverse and wrong in forward mode; torch.linalg.solve_triangular is right in both. So a factor that is trained as a
# full matrix is filled above its diagonal by what has no influence, and then gets wrong gradients below.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import torch

warnings.filterwarnings("ignore", message=".*triangular_solve is deprecated", category=UserWarning)
print("torch", torch.__version__)
b = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
functions = {
    "cholesky_inverse": lambda L: torch.cholesky_inverse(L).sum(),
    "cholesky_solve": lambda L: torch.cholesky_solve(b, L).sum(),
    "triangular_solve": lambda L: torch.triangular_solve(b, L, upper=False).solution.sum(),
    "linalg.solve_triangular": lambda L: torch.linalg.solve_triangular(L, b, upper=False).sum(),
}
LOWER, ABOVE = [0, 2, 3], 1


def slopes(function, L):
    units = torch.eye(4, dtype=L.dtype).reshape(4, 2, 2)
    central = torch.stack([(function(L + 1e-6 * unit) - function(L - 1e-6 * unit)) / 2e-6 for unit in units])
    forward = torch.stack([torch.func.jvp(function, (L,), (unit,))[1] for unit in units])
    return {"differences": central, "reverse": torch.func.grad(function)(L).flatten(), "forward": forward}


def which_are_right(found, way):
    """Whether the derivatives by the lower triangle are right, and whether the one by the entry above is zero."""
    return bool((found[way] - found["differences"])[LOWER].abs().max() < 1e-7), abs(found[way][ABOVE].item()) < 1e-12


results = {}
for above in (0.0, 7.0):
    L = torch.tensor([[2.0, above], [0.5, 1.5]], dtype=torch.float64)
    for name, function in functions.items():
        found = slopes(function, L)
        results[name, above] = [which_are_right(found, way) for way in ("reverse", "forward")]
        value = function(L).item()
        print(f"{name}, {above} above the diagonal: value {value:.6f}")
        for way, numbers in found.items():
            print(f"    {way:11}", *(f"{number:9.5f}" for number in numbers.tolist()))
expected = {
    ("cholesky_inverse", 0.0): [(True, False), (False, False)],
    ("cholesky_inverse", 7.0): [(False, False), (False, False)],
    ("cholesky_solve", 0.0): [(True, False), (True, False)],
    ("cholesky_solve", 7.0): [(False, False), (False, False)],
    ("triangular_solve", 0.0): [(True, True), (True, False)],
    ("triangular_solve", 7.0): [(True, True), (True, False)],
    ("linalg.solve_triangular", 0.0): [(True, True), (True, True)],
    ("linalg.solve_triangular", 7.0): [(True, True), (True, True)],
}
sys.exit(0 if results == expected else 1)
PYTHON
