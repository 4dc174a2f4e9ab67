"""Connectionist temporal classification (Graves et al., 2006): the probability of a text whose places are not known."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.elementary import primitive

#: The logarithm of a probability that is 0: finite, so that differences of it are numbers.
NEVER = -1e30


def ctc(
    log_p: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """Returns the negative logarithm of the probability of the targets, over all ways to align them.

    Parameters
    ----------
    log_p : ndarray or TracedArray, shape (times, samples, classes)
        Logarithms of probabilities.
    targets : ndarray of int, shape (samples, longest target) or (sum of the lengths,)
    input_lengths, target_lengths : array_like of int, shape (samples,)
    blank : int
        The class of the blank.
    reduction : {"mean", "sum", "none"}
        The mean is that of the losses, each over the length of its target, as in PyTorch.
    zero_infinity : bool
        Whether samples whose target does not fit into their times cost 0, and not infinity.

    Raises
    ------
    ValueError
        If the reduction has another name.
    """
    times, samples, _ = log_p.shape
    lengths, sizes = (np.broadcast_to(np.asarray(n), (samples,)) for n in (input_lengths, target_lengths))
    states = _states(np.asarray(targets), sizes, blank)
    count = states.shape[1]
    emitted = log_p[np.arange(times)[:, np.newaxis, np.newaxis], np.arange(samples)[:, np.newaxis], states]
    never = np.full(1, NEVER)
    # where each state comes from: itself, the one before, and the second one before
    source = np.arange(samples * count).reshape(samples, count, 1) - np.arange(3)
    inside = np.arange(count)[:, np.newaxis] >= np.arange(3)
    skips = np.zeros((samples, count), np.bool_)
    skips[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    allowed = inside & np.stack([np.ones_like(skips), np.ones_like(skips), skips], axis=-1)
    source = np.where(allowed, source, samples * count)
    first = np.where(np.arange(count) < np.where(sizes[:, np.newaxis] > 0, 2, 1), 0.0, NEVER)
    alphas = [emitted[0] + first]
    for t in range(1, times):
        arrived = primitive("gather", alphas[-1], never, index=source)
        alphas.append(primitive("logsumexp", arrived, axis=(2,), keepdims=False) + emitted[t])
    ends = 2 * sizes[:, np.newaxis] - np.array([0, 1])
    rows = (np.maximum(lengths, 1)[:, np.newaxis] - 1) * samples + np.arange(samples)[:, np.newaxis]
    index = np.where(ends >= 0, rows * count + ends, times * samples * count)
    last = primitive("gather", *alphas, never, index=index.astype(np.int64))
    losses = -primitive("logsumexp", last, axis=(1,), keepdims=False)
    repeats = np.array(
        [np.count_nonzero(np.diff(row[1 : 2 * n : 2]) == 0) for row, n in zip(states, sizes, strict=True)]
    )
    fits = lengths >= sizes + repeats
    if not fits.all():
        losses = np.where(fits, losses, 0.0 if zero_infinity else np.inf)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return np.sum(losses)
    if reduction == "mean":
        return np.mean(losses / np.maximum(sizes, 1))
    raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")


def _states(targets: Any, sizes: Any, blank: int) -> Any:
    """Returns the targets of each sample with a blank before, between and after them, filled up with blanks."""
    states = np.full((len(sizes), 2 * int(sizes.max(initial=0)) + 1), blank, np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)])
    for n, size in enumerate(sizes.tolist()):
        states[n, 1 : 2 * size : 2] = targets[begins[n] : begins[n] + size] if targets.ndim == 1 else targets[n, :size]
    return states
