"""Of differences with smaller and smaller steps, those that all smaller steps confirm are taken."""

import numpy as np

from gradcheck_fast.numerical.steadiest import steadiest


def test_the_step_with_the_narrowest_bar_is_taken():
    steps = 8.0 ** -np.arange(6.0)
    truth, noise = 3.0, 1e-12 / steps
    values = truth + 1e-3 * steps**4 + noise * np.array([0.5, -0.5, 0.5, -0.5, 0.5, -0.5])
    best, bars = steadiest(values[:, np.newaxis], noise[:, np.newaxis])
    assert abs(best[0] - truth) <= bars[0] <= 2e-9


def test_two_neighbours_that_agree_by_chance_are_not_believed():
    values = np.array([0.1, 0.1001, 5.0, 7.1, 7.0, 7.0001])[:, np.newaxis]
    best, bars = steadiest(values, np.full((6, 1), 1e-6))
    assert abs(best[0] - 7.0) <= bars[0] < 1.0


def test_where_a_step_leads_out_of_the_domain_a_smaller_one_is_taken():
    values = np.array([np.nan, 2.0, 2.0, 2.0])[:, np.newaxis]
    assert np.all(steadiest(values, np.full((4, 1), 1e-9))[0] == 2.0)
    assert np.isinf(steadiest(np.full((4, 1), np.nan), np.full((4, 1), 1e-9))[1]).all()
