"""The first look of ``method="directional"`` at a function of tensors: one direction for each input.

A right gradient of float64 agrees along it, and an error would have been seen with a probability that is stated. If it
does not agree, or if that says too little, nothing is said: then `comparison.directional` looks more closely.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite, nan
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.linalg import vector_norm

from gradcheck_fast.adapters.torch.copies import array_of
from gradcheck_fast.checks.options import DIRECTIONAL, Options
from gradcheck_fast.comparison.directional import Directional, said_of_power
from gradcheck_fast.comparison.results import ArrayResult, Comparison, known
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import pack, pack_as
from gradcheck_fast.numerical.gradient import EPSILON
from gradcheck_fast.report.report import make_report

if TYPE_CHECKING:
    from gradcheck_fast.adapters.torch.function import FunctionCall
    from gradcheck_fast.report.report import Report

#: The step, as a part of the size of an input. The outputs are subtracted one by one, so that what does not change
#: leaves no rounding; h² is the truncation.
_STEP = 2.0**-18
#: A normal random number is less than this in size with probability 0.001: so much of an error at least is seen of it.
_SEEN = 0.00125
#: The roundings that each output may have.
_ROUNDINGS = 4.0
#: Nothing is said if an error of this size of an input's gradient could have been missed.
_MOST = 1e-3


def one_direction(call: FunctionCall, settings: Options) -> Report | None:
    """Compares the gradient of one output with one difference for each input, if that is what the options ask for.

    It returns None unless everything agrees so well that an error of 0.1 % of an input's gradient would have been seen.

    Parameters
    ----------
    call : FunctionCall
    settings : Options
    """
    plain = replace(settings, n_threads=None, progress=None, seed=0, trace=True) == Options(method=DIRECTIONAL)
    if not plain or call.dtypes != {torch.float64}:
        return None
    # One generator: a direction that is equal to the cotangent would never see an antisymmetric error, as that of a
    # transposed matrix is. NumPy's numbers take half the time of PyTorch's.
    rng = generator(settings.seed)
    try:
        is_known = call.look_without_observing(rng)
    except RuntimeError:  # PyTorch refuses to give some gradients alone
        return None
    found = [gradient for gradient in call.found if gradient is not None]
    if not is_known or call.dtypes != {torch.float64} or len(call.outputs) > 1 or len(found) < len(call.found):
        return None
    values, cotangent = call.values, call.cotangents[0].flatten()
    weight = vector_norm(cotangent).item()
    results, evaluations = [], 0
    with torch.no_grad():
        for k, (name, value) in enumerate(zip(call.checked, values, strict=True)):
            direction = torch.from_numpy(rng.standard_normal(tuple(value.shape))).to(value.device)
            size, gradient = vector_norm(value).item() / max(value.numel(), 1) ** 0.5 or 1.0, found[k]
            h = _STEP * size
            moved = []
            for step in (h, -h):
                leaves = [torch.add(v, direction, alpha=step) if j == k else v for j, v in enumerate(values)]
                moved.append(call.first_output(leaves).flatten())
                evaluations += 1
            plus, minus = moved
            numerical = torch.dot(plus - minus, cotangent).item() / (2.0 * h)
            noise = _ROUNDINGS * EPSILON * weight * vector_norm(plus).item() / h  # at least as much as the sum of |v y|
            norm = vector_norm(gradient).item()
            off = abs(numerical - torch.dot(gradient.flatten(), direction.flatten()).item())
            power = (off + noise) / (_SEEN * norm) if norm else inf
            if not isfinite(power) or power > _MOST:
                return None
            ratio = off / (2.0 * norm)
            results.append(ArrayResult(name, tuple(value.shape), ratio, 0.0, 0, value.numel(), 0.0, 0.0, power=power))
    return _report(call, found, results, evaluations)


def _report(call: FunctionCall, found: list[torch.Tensor], results: list[ArrayResult], evaluations: int) -> Report:
    at = pack(dict(zip(call.checked, call.flat_arrays, strict=True)))
    given = pack_as(dict(zip(call.checked, map(array_of, found), strict=True)), at.shapes, finite=False)
    ratio = float(np.hypot.reduce([result.relative_error for result in results]))
    unknown = np.full(at.flat.size, nan)
    comparison = Comparison(tuple(results), ratio, known(np.full(at.flat.size, -inf)), unknown, None)
    directional = Directional(comparison, None, evaluations, said_of_power(results), {}, nan)
    return make_report(
        comparison, given, directional, at, coverage=directional.coverage, evaluations=evaluations,
        seen_from={("output", result.name): result.power for result in results},
    )  # fmt: skip
