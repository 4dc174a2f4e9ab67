"""Recognises the Gauss-Newton part of a Hessian, in which second derivatives of what a model computes are left out.

Let all that the loss depends on pass through z, the value of one step, and let u be the derivatives of the loss by it.
The Hessian is then

    H = J'ᵀ H_z J' + Σ_k u_k ∇²z_k

with the Jacobian J' of z; its first part is the Gauss-Newton matrix (Schraudolph, Fast curvature matrix-vector products
for second-order gradient descent, Neural Computation 14, 2002). The second part is found along random directions r, by
differences of z, r·∇²z_k r = (z(θ + hr) - 2 z(θ) + z(θ - hr)) / h², which are exact changes of the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.diagnose import Diagnosis
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.losses.program_loss import ProgramLoss
    from gradcheck_fast.program.program import Program

    Reals = NDArray[np.float64]

#: Along how many random directions the matrix is compared.
DIRECTIONS = 8
#: How near the matrix must come along each, as a part of what is left out.
NEAR = 1e-6
#: What is left out must be at least this part of the Hessian, or nothing is.
SHOWS = 1e-6
#: How many steps are tried, from the last on.
MOST = 60
#: The steps of the differences: rounding over h, and truncation of the order of h⁴, are then about 1e-12.
STEP = 2.0**-12


def gauss_newton(
    loss: ProgramLoss, theta: Reals, given: Reals, hessian: Reals, names: tuple[str, ...]
) -> list[Diagnosis]:
    """Returns a diagnosis if a matrix is the Gauss-Newton part of the Hessian for some step of the loss.

    Parameters
    ----------
    loss : ProgramLoss
    theta : ndarray of float64, shape (size,)
    given, hessian : ndarray of float64, shape (size, size)
        The matrix that is checked, and the Hessian.
    names : tuple of str
        The names of the blocks.
    """
    if not (np.abs(given - given.T) <= NEAR * np.abs(given).max()).all():  # along directions that does not show
        return []
    rng, program = np.random.default_rng(0), loss.program
    directions = rng.standard_normal((DIRECTIONS, len(theta))) * np.maximum(1.0, np.abs(theta))
    quadratic = [np.einsum("ri,ij,rj->r", directions, matrix, directions) for matrix in (hessian, given)]
    missing, size = quadratic[0] - quadratic[1], float(np.abs(quadratic[0]).max())
    if not np.isfinite(missing).all() or np.abs(missing).min() <= SHOWS * size:
        return []
    with loss.engine.at(theta, 1) as point, np.errstate(all="ignore"):
        by = point.sensitivities()
        changes = [[point.changes(r, h) for h in (STEP, -STEP, 2.0 * STEP, -2.0 * STEP)] for r in directions]
        for number in _passed_by_all(program):
            if number not in by:
                continue
            bent = np.array([_curvature([found[number] for found in along], by[number]) for along in changes])
            if (np.abs(bent - missing) <= NEAR * np.abs(missing)).all():
                step = program.steps[number]
                where = f" ({step.source})" if any(step.source) else ""
                cause = f"it is the Gauss-Newton part: the second derivatives of {step.name}{where} are left out"
                evidence = f"along {DIRECTIONS} random directions just these are missing, to {NEAR:.0e}"
                lines = ((step.source.file, step.source.line),) if step.source.file else ()
                return [Diagnosis(cause, evidence, names, lines)]
    return []


def _curvature(changes: list[Reals | None], by: Reals) -> float:
    """Returns Σ u r·∇²z r of a step, from its changes for h, -h, 2h and -2h."""
    if any(change is None for change in changes):
        return 0.0
    near, far = (float(np.sum(by * (changes[k] + changes[k + 1]))) for k in (0, 2))  # type: ignore[operator]
    return (4.0 * near - 0.25 * far) / (3.0 * STEP**2)


def _passed_by_all(program: Program) -> Iterator[int]:
    """Yields the steps without which no cost would depend on any parameter, the last of them first."""
    depends = on_parameters(program)
    own, costs = [number for number in program.needed if number in depends], set(program.costs)
    parameters = set(program.parameters)
    for left_out in [number for number in reversed(own) if number not in parameters | costs][:MOST]:
        reached = set(parameters)
        for number in own:
            if number != left_out and any(source in reached for source in program.steps[number].inputs):
                reached.add(number)
        if not costs & reached:
            yield left_out
