"""Random numbers that are not those of the user's data."""

from __future__ import annotations

import numpy as np

#: What is drawn with a seed of 0 must not be what users get from ``np.random.default_rng(0)``: along the parameters
#: themselves, or for a cotangent equal to them, many functions have a derivative of zero.
_OWN = 0x67726164


def generator(*seed: int) -> np.random.Generator:
    """Returns a generator of the library's own, always the same for a seed."""
    return np.random.default_rng((_OWN, *seed))
