"""A numerical gradient on the tangent space of constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.constraints import Constrained
    from gradcheck_fast.numerical.gradient import Numerical


def projected(found: Numerical, constrained: Constrained) -> Numerical:
    """Projects the numerical gradient of all entries onto the tangent space of constraints.

    An entry of a projection depends on many of the gradient: what looks at single entries again is left out. Slopes
    that kinks leave open are an outer bound.
    """
    again, doubted, kinks = found.again, found.doubted, found.kinks

    def spread(noise: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return constrained.spread(np.array(np.broadcast_to(noise, found.gradient.shape)))

    def coarse_roundings() -> NDArray[np.float64] | None:
        own = found.coarse_roundings()
        return None if own is None else constrained.spread(own)

    def doubted_there(errors: NDArray[np.float64]) -> Numerical | None:
        other = doubted(constrained.project(errors)) if doubted else None
        return projected(other, constrained) if other else None

    if kinks is not None:
        half = constrained.spread(np.maximum(np.abs(kinks.low), np.abs(kinks.high)))
        touched = constrained.touches(len(half))
        low, high = np.where(touched, -half, kinks.low), np.where(touched, half, kinks.high)
        kinks = kinks._replace(low=low, high=high)
    return found._replace(
        gradient=constrained.project(found.gradient),
        again=None if again is None else lambda times: constrained.project(again(times)),
        noise=lambda: spread(found.noise()),
        roundings=lambda: spread(found.roundings()),
        kinks=kinks,
        refine=None,
        flat=None,
        closer=None,
        polish=None,
        coarse_roundings=coarse_roundings,
        doubted=None if doubted is None else doubted_there,
    )
