"""Normalisations and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import CALLS, Random, calls, draw, pick, positive

# ---- normalisations


@calls("BatchNormalization")
def batch_norm(rng: Random, opset: int) -> Any:
    x = [draw(rng, 3, 4, *pick(rng, (), (5,), (2, 3))), draw(rng, 4), draw(rng, 4), draw(rng, 4), positive(rng, 4)]
    options: dict[str, Any] = {"epsilon": pick(rng, None, 0.125)}
    if opset >= 14 and pick(rng, True, False):
        options |= {"training_mode": 1, "momentum": pick(rng, None, 0.75)}
        return x, options, 3
    return x, options, 1


@calls("InstanceNormalization")
def instance_norm(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4, 2), draw(rng, 3), draw(rng, 3)], {"epsilon": pick(rng, None, 0.125)}, 1


@calls("LayerNormalization")
def layer_norm(rng: Random, opset: int) -> Any:
    axis = pick(rng, -1, 1, 2, -2)
    shape = (2, 3, 4)[axis:]
    x = [draw(rng, 2, 3, 4), draw(rng, *shape), pick(rng, None, draw(rng, *shape))]
    return x if x[2] is not None else x[:2], {"axis": axis, "epsilon": pick(rng, None, 0.125)}, pick(rng, 1, 3)


@calls("RMSNormalization")
def rms_norm(rng: Random, opset: int) -> Any:
    axis = pick(rng, -1, 1, 2, -2)
    return [draw(rng, 2, 3, 4), draw(rng, *(2, 3, 4)[axis:])], {"axis": axis, "epsilon": pick(rng, None, 0.125)}, 1


@calls("GroupNormalization")
def group_norm(rng: Random, opset: int) -> Any:
    groups = pick(rng, 1, 2, 4)
    scale = groups if opset < 21 else 4
    options = {"num_groups": groups, "epsilon": pick(rng, None, 0.125)}
    return [draw(rng, 2, 4, 3, 2), draw(rng, scale), draw(rng, scale)], options, 1


@calls("LRN")
def lrn(rng: Random, opset: int) -> Any:
    options = {"size": pick(rng, 1, 2, 3, 4, 5), "alpha": pick(rng, None, 0.5), "beta": pick(rng, None, 0.5)}
    return (
        [
            draw(rng, 2, 6, 3)[..., None],
        ],
        {**options, "bias": pick(rng, None, 2.0)},
        1,
    )


@calls("LpNormalization")
def lp_norm(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {"axis": pick(rng, None, 0, 1, -1), "p": pick(rng, 1, 2)}, 1


@calls("MeanVarianceNormalization")
def mean_variance(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4, 2)], {"axes": pick(rng, None, [0, 2, 3], [1])}, 1


# ---- reductions


@calls("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
       "ReduceLogSumExp", "ReduceSumSquare")  # fmt: skip
def reduction(rng: Random, opset: int) -> Any:
    axes = pick(rng, None, [0], [1, 2], [-1], [0, -1])
    options = {"keepdims": pick(rng, None, 0, 1)}
    return [positive(rng, 2, 3, 4)], {**options, "axes": axes}, 1


def reduction_by_input(first: int, name: str) -> None:
    """From some opset on the axes are an input."""

    def generate(rng: Random, opset: int) -> Any:
        x, options, outputs = reduction(rng, opset)
        if opset < first:
            return x, options, outputs
        axes = options.pop("axes")
        options["noop_with_empty_axes"] = pick(rng, 0, 1)
        return x + ([np.array(axes)] if axes is not None else []), options, outputs

    CALLS["", name] = generate


for _name in list(CALLS):
    if _name[1].startswith("Reduce"):
        reduction_by_input(13 if _name[1] == "ReduceSum" else 18, _name[1])


@calls("ArgMax", "ArgMin")
def arg(rng: Random, opset: int) -> Any:
    options = {"axis": pick(rng, 0, 1, -1), "keepdims": pick(rng, None, 0)}
    if opset >= 12:
        options["select_last_index"] = pick(rng, 0, 1)
    return [rng.integers(0, 3, (3, 4)) * 1.0], options, 1
