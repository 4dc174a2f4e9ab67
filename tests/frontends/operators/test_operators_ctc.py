import itertools

import numpy as np
import pytest
from operator_peer import agree, numbers

from gradcheck_fast.frontends.operators.activations import log_softmax
from gradcheck_fast.frontends.operators.ctc import ctc

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F, tensor = torch.nn.functional, torch.tensor

TARGETS = np.array([[1, 2, 2, 0], [3, 1, 4, 2], [1, 1, 1, 1]])
ALL_FIT, ONE_DOES_NOT = ([9, 7, 8], [3, 4, 0]), ([9, 7, 5], [3, 4, 4])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("lengths", "sizes"), [ALL_FIT, ONE_DOES_NOT], ids=["all fit", "one does not"])
def test_the_cost_is_that_of_pytorch(lengths, sizes, reduction):
    agree(
        lambda of: ctc(log_softmax(of["x"]), TARGETS, lengths, sizes, reduction=reduction, zero_infinity=True),
        lambda of: F.ctc_loss(
            of["x"].log_softmax(-1), tensor(TARGETS), tensor(lengths), tensor(sizes), reduction=reduction,
            zero_infinity=True,
        ),
        {"x": numbers(9, 3, 5)},
    )  # fmt: skip


def test_the_blank_may_be_another_class_and_the_targets_one_row():
    row = np.array([1, 2, 2, 3, 1, 0, 2])
    agree(
        lambda of: ctc(log_softmax(of["x"]), row, *ALL_FIT, blank=4),
        lambda of: F.ctc_loss(of["x"].log_softmax(-1), tensor(row), *map(tensor, ALL_FIT), blank=4),
        {"x": numbers(9, 3, 5)},
    )


def test_a_target_that_does_not_fit_costs_infinity_or_nothing():
    log_p = log_softmax(numbers(9, 3, 5))
    assert np.isinf(ctc(log_p, TARGETS, *ONE_DOES_NOT, reduction="none")).tolist() == [False, False, True]
    assert ctc(log_p, TARGETS, *ONE_DOES_NOT, reduction="none", zero_infinity=True)[2] == 0.0


def test_the_probability_is_the_sum_over_all_ways():
    p = np.random.default_rng(2).dirichlet(np.ones(3), 4)
    total = 0.0
    for way in itertools.product(range(3), repeat=4):
        kept = [c for c, before in zip(way, (None, *way), strict=False) if c != before and c != 0]
        total += np.prod(p[np.arange(4), way]) if kept == [1, 1] else 0.0
    found = ctc(np.log(p)[:, np.newaxis], np.array([[1, 1]]), [4], [2], reduction="sum")
    assert found == pytest.approx(-np.log(total), rel=1e-14)


def test_an_unknown_reduction_is_named():
    with pytest.raises(ValueError, match="reduction: expected 'mean', 'sum' or 'none', got 'max'"):
        ctc(log_softmax(numbers(9, 3, 5)), TARGETS, *ALL_FIT, reduction="max")
