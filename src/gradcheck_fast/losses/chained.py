"""The chained gradient of a program at a point, with what vouches for it and what kinks leave open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.engine.certificate import certified
from gradcheck_fast.engine.chain import chain
from gradcheck_fast.engine.open_slopes import may_jump
from gradcheck_fast.inputs import _norms
from gradcheck_fast.numerical.gradient import EXACT_STEP, Kinks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.executor import AtPoint
    from gradcheck_fast.numerical.certificate import Certificate
    from gradcheck_fast.running.runner import Runner


class Chained(NamedTuple):
    """A chained gradient.

    Attributes
    ----------
    gradient : ndarray of float64, shape (size,)
        The derivatives; all NaN if the certificate does not hold.
    kinks : Kinks or None
        The slopes that kinks leave open, as an outer bound.
    certificate : Certificate or None
        None if none was asked for, or if the gradient is not finite.
    """

    gradient: NDArray[np.float64]
    kinks: Kinks | None
    certificate: Certificate | None


def chained(
    point: AtPoint, h: float, runner: Runner, spreads: Callable[[], NDArray[np.float64]], directions: int | None,
    step: float | None = None,
) -> Chained:  # fmt: skip
    """Finds the gradient by the chain, which slopes kinks leave open, and what vouches for it.

    Parameters
    ----------
    point : AtPoint
        The program at the parameters, in use.
    h : float
        The step of the slopes.
    runner : Runner
    spreads : callable
        Gives how far each derivative may be off because of kinks.
    directions : int or None
        Along how many directions it is certified; None: not at all.
    step : float, optional
        The step of the certificate, if it is not h.
    """
    gradient, count = chain(point, h, runner)
    if not _norms.all_finite(gradient):
        return Chained(gradient, None, None)
    half, certificate, step = spreads() if count else np.zeros(0), None, step or h
    if directions is not None:
        # small differences do not see kinks that leave nothing open, as those of a maximum of zeros that do not change
        is_open = bool(half.any()) or step > EXACT_STEP or (count > 0 and may_jump(point.engine))
        matter = count if is_open else 0
        certificate = certified(point, gradient, matter, step, directions)
    if certificate is not None and not certificate.holds:
        gradient.fill(np.nan)
    return Chained(gradient, Kinks(count, -half, half) if half.any() else None, certificate)
