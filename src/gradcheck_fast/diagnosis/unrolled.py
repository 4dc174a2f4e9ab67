"""Writes a network so that each time has the same steps, in which the diagnosis then looks for mistakes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from gradcheck_fast.engine.engine import Engine
from gradcheck_fast.frontends.network.network import Network
from gradcheck_fast.frontends.network.recurrent import Recurrent

if TYPE_CHECKING:
    from gradcheck_fast.losses.network_loss import NetworkLoss
    from gradcheck_fast.program.program import Program


class Unrolled(NamedTuple):
    """A network, its program, and the engine that runs that on the network's data."""

    network: Network
    program: Program
    engine: Engine


def unroll(loss: NetworkLoss) -> Unrolled:
    """Writes the network of a loss so that every initial state of zeros is an input: all times have the same steps."""
    network, (data, targets, counted) = cast("Network", loss.network), loss.given
    layers = [
        replace(layer, initial_state="data")
        if isinstance(layer, Recurrent) and layer.initial_state == "zeros"
        else layer
        for layer in network.layers
    ]
    widths = network.state_widths
    unrolled = Network(layers, network.cost, network.penalty, list(network.shapes))
    ends = np.cumsum([data.times * (network.inputs + data.masked), *widths.values()])
    inputs, *states = np.split(data.inputs, ends[:-1] if widths else [], axis=1)
    given = dict(zip(widths, states, strict=True))
    data = data._replace(inputs=inputs).followed_by(
        [given.get(name, np.zeros((data.samples, width))) for name, width in unrolled.state_widths.items()]
    )
    program, last = unrolled.lower(data)
    unrolled.cost.lower(program, last, targets, counted)
    return Unrolled(unrolled, program, Engine.of(program, data.inputs, targets))
