"""All networks and all mistakes, and how to make one."""

from __future__ import annotations

from typing import Any

import numpy as np

from planted import (
    attention,
    convolution,
    dense,
    embedding,
    gated,
    layers,
    normalisation,
    pooling,
    recurrent,
)
from planted.records import Network, Planted

_FILES = (dense, layers, recurrent, gated, convolution, pooling, normalisation, attention, embedding)

NETWORKS: dict[str, Network] = {network.name: network for file in _FILES for network in file.NETWORKS}
MISTAKES: tuple[Planted, ...] = tuple(planted for network in NETWORKS.values() for planted in network.mistakes)


def case(name: str, seed: int = 0) -> tuple[Any, Any, Any]:
    """The loss, the gradient and the parameters of ``network``, which is right, or of ``network/mistake``."""
    network, _, mistake = name.partition("/")
    return NETWORKS[network].maker(np.random.default_rng(seed), mistake)
