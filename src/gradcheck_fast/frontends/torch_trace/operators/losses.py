"""Operators that are losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators import costs
from gradcheck_fast.frontends.operators import ctc as alignments
from gradcheck_fast.frontends.torch_trace.operators.registry import Call, Unsupported, aten

#: PyTorch's numbers for reductions.
REDUCTIONS = ("none", "mean", "sum")
MEAN = 1


@aten("mse_loss")
def mse(call: Call, x: Any, target: Any, reduction: int = MEAN) -> Any:
    """``mse_loss``."""
    return costs.mse(x, target, reduction=REDUCTIONS[reduction])


@aten("smooth_l1_loss")
def smooth_l1(call: Call, x: Any, target: Any, reduction: int = MEAN, beta: float = 1.0) -> Any:
    """``smooth_l1_loss``."""
    return costs.smooth_l1(x, target, beta=beta, reduction=REDUCTIONS[reduction])


@aten("huber_loss")
def huber(call: Call, x: Any, target: Any, reduction: int = MEAN, delta: float = 1.0) -> Any:
    """``huber_loss``."""
    return costs.huber(x, target, delta=delta, reduction=REDUCTIONS[reduction])


@aten("soft_margin_loss")
def soft_margin(call: Call, x: Any, target: Any, reduction: int = MEAN) -> Any:
    """``soft_margin_loss``."""
    return costs.soft_margin(x, target, reduction=REDUCTIONS[reduction])


@aten("binary_cross_entropy")
def binary_cross_entropy(call: Call, x: Any, target: Any, weight: Any = None, reduction: int = MEAN) -> Any:
    """``binary_cross_entropy``."""
    return costs.binary_cross_entropy(x, target, weights=weight, reduction=REDUCTIONS[reduction])


@aten("nll_loss_forward", "nll_loss2d_forward")
def nll(call: Call, x: Any, target: Any, weight: Any, reduction: int, ignore_index: int) -> Any:
    """``nll_loss``, and what the weights add up to, which depends on no parameter unless they do."""
    if type(target) is not np.ndarray:
        raise Unsupported
    found = costs.nll(x, target, weights=weight, ignore_index=ignore_index, reduction=REDUCTIONS[reduction])
    return found, None if weight is not None and type(weight) is not np.ndarray else call.found[1]


@aten("multi_margin_loss")
def multi_margin(
    call: Call, x: Any, target: Any, p: float = 1, margin: float = 1.0, weight: Any = None, reduction: int = MEAN
) -> Any:
    """``multi_margin_loss``."""
    settings: Any = {"p": int(p), "margin": margin, "weights": weight, "reduction": REDUCTIONS[reduction]}
    if x.ndim == 1:
        return np.reshape(costs.multi_margin(x.reshape((1, -1)), np.reshape(target, (1,)), **settings), ())
    return costs.multi_margin(x, target, **settings)


@aten("multilabel_margin_loss_forward")
def multilabel_margin(call: Call, x: Any, target: Any, reduction: int) -> Any:
    """``multilabel_margin_loss``."""
    if x.ndim == 1:
        rows, targets = x.reshape((1, -1)), np.reshape(target, (1, -1))
        found = np.reshape(costs.multilabel_margin(rows, targets, reduction=REDUCTIONS[reduction]), ())
    else:
        found = costs.multilabel_margin(x, target, reduction=REDUCTIONS[reduction])
    return found, call.found[1]


@aten("_ctc_loss")
def ctc(
    call: Call, log_p: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """``_ctc_loss`` of each sample; without an axis of samples there is one."""
    rows = log_p if log_p.ndim == 3 else log_p[:, np.newaxis]
    lengths = np.reshape(input_lengths, (-1,)), np.reshape(target_lengths, (-1,))
    found = alignments.ctc(rows, targets, *lengths, blank=blank, reduction="none", zero_infinity=zero_infinity)
    return found.reshape(call.found[0].shape), None


@aten("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    call: Call, x: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = MEAN
) -> Any:
    """``binary_cross_entropy_with_logits``."""
    settings: Any = {"weights": weight, "pos_weight": pos_weight, "reduction": REDUCTIONS[reduction]}
    return costs.binary_cross_entropy_with_logits(x, target, **settings)
