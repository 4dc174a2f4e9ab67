"""Numerical derivatives that are joined keep their error bars, their kinks and a closer look."""

import numpy as np

from gradcheck_fast.numerical.errorbars import error_bars
from gradcheck_fast.numerical.gradient import Closer, Kinks, Numerical, Refined
from gradcheck_fast.numerical.joined import Piece, joined

EXACT = Numerical(np.array([1.0, 2.0]), "direct", True, 1e-40, lambda times: np.array([1.0, 2.0 + 1e-12]))
PLAIN = Numerical(
    np.array([3.0, 4.0]), "direct", False, None, lambda times: np.array([3.0, 4.0]), lambda: np.array([5.0, 6.0]),
    kinks=Kinks(2, np.array([-1.0, 0.0]), np.array([0.5, 0.0])),
    refine=lambda some, enough: Refined(np.array([3.0, 4.0])[some], np.array([0.1, 0.2])[some]),
    closer=lambda some, given: Closer(given, 0.0 * given, 0.0 * given, 0.0 * given),
)  # fmt: skip
BOTH = joined(
    [Piece(EXACT, np.array([1, 0]), np.array([0, 3])), Piece(PLAIN, np.array([0, 1]), np.array([2, 1]), -2.0)], 4
)


def test_entries_go_to_their_places_times_their_factors():
    assert BOTH.gradient.tolist() == [2.0, -8.0, -6.0, 1.0]
    assert np.asarray(BOTH.noise()).tolist() == [0.0, 12.0, 10.0, 0.0]
    assert not BOTH.exact


def test_a_negative_factor_turns_the_slopes_at_a_kink_round():
    assert BOTH.kinks is not None
    assert (BOTH.kinks.crossed, BOTH.kinks.low.tolist(), BOTH.kinks.high.tolist()) == (
        2,
        [0, 0, -1.0, 0],
        [0, 0, 2.0, 0],
    )


def test_each_piece_has_error_bars_of_its_own_kind():
    found = error_bars(BOTH, {"": (4,)})
    assert found.bars[1] == 0.4
    assert 0.0 < found.bars[0] < 1e-11


def test_a_closer_look_is_that_of_the_piece():
    assert BOTH.closer is not None
    closer = BOTH.closer(np.array([1, 3]), np.array([-7.0, 1.5]))
    assert closer.derivatives[0] == -7.0
    assert np.isnan(closer.derivatives[1])
