"""Random directions: their steps, bars and stated power hold."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.comparison.lines import Tolerance, check_along, quantile
from gradcheck_fast.comparison.probe import WHOLE, Line, Probe, Table
from gradcheck_fast.inputs.arrays import DOUBLE
from gradcheck_fast.running.replay import Answers

ROWS, COLUMNS = 12, 9
RIGHT = Tolerance.of_precision(DOUBLE)


@pytest.fixture
def smooth():
    """A function of a matrix, its gradient, and where."""
    rng = np.random.default_rng(1)
    amplitudes, at = rng.normal(size=(2, ROWS * COLUMNS))
    return lambda theta: float(np.sin(theta) @ amplitudes) + 3.0, np.cos(at) * amplitudes, at


def probe_of(cost, at, answers=None):
    return Probe(cost, at, cost(at), answers or Answers())


def check(cost, gradient, at, seed=0, step=None, tolerance=RIGHT):
    table = Table((ROWS, COLUMNS), 0, at, gradient, (seed, 0))
    probe = probe_of(cost, at)
    return check_along(probe, table, tolerance, step), probe


def check_vector(cost, gradient, at, seed=0):
    """What is said of a vector, and in how many evaluations."""
    answers = Answers()
    table = Table(at.shape, 0, at, gradient, (seed, 0))
    return check_along(probe_of(cost, at, answers), table, RIGHT, None), len(answers.found)


def errors(rng):
    """Errors of norm 1, as different as they can be."""
    one, two = np.zeros((2, ROWS * COLUMNS))
    one[rng.integers(one.size)] = 1.0
    two[rng.choice(two.size, 2, replace=False)] = 1.0, -1.0
    low_rank = np.outer(rng.normal(size=ROWS), rng.normal(size=COLUMNS)).ravel()
    block = np.zeros((ROWS, COLUMNS))
    block[2:5, 3:7] = 1.0
    for e in (one, two, rng.normal(size=one.size), low_rank, block.ravel()):
        yield e / np.linalg.norm(e)


def test_a_right_gradient_takes_nine_evaluations_besides_the_first(smooth):
    tested, evaluations = check_vector(*smooth)
    assert not tested.wrong
    assert evaluations == 9
    assert tested.power < 1e-6


def test_an_error_of_the_stated_size_is_missed_once_in_a_thousand_times_at_most(smooth):
    """Whatever its shape. A miss is a run that says that it would have seen an error so large, and did not."""
    cost, gradient, at = smooth
    size = 1.3 * check(*smooth)[0].power * np.linalg.norm(gradient)
    runs = misses = promises = 0
    for seed in range(200):
        for e in errors(np.random.default_rng(seed)):
            wrong = gradient + size * e
            tested, _ = check(cost, wrong, at, seed)
            promised = tested.power * np.linalg.norm(wrong) <= size
            promises += tested.wrong or promised
            misses += promised and not tested.wrong
            runs += 1
    assert promises > 0.99 * runs
    assert misses <= 6  # 1 is expected at the bound, and more than 6 have a probability of 1e-4


def test_smaller_errors_are_missed_so_the_power_is_not_understated_by_much(smooth):
    cost, gradient, at = smooth
    size = 0.02 * check(*smooth)[0].power * np.linalg.norm(gradient)
    error = next(errors(np.random.default_rng(0)))
    assert not any(check(cost, gradient + size * error, at, seed)[0].wrong for seed in range(20))


@pytest.mark.parametrize("directions", [1, 2, 3, 11])
def test_quantile(directions):
    """Of simulated normal numbers, all are below it as often as stated."""
    draws = np.abs(np.random.default_rng(directions).standard_normal((400_000, directions))).max(axis=1)
    missed = int((draws <= quantile(directions)).sum())
    assert 65 < missed < 140  # 100 expected


def test_the_bar_covers_a_kink_wherever_it_lies():
    """One kink at u, along a direction with slope 1: mostly its own third difference shows it, else those of others."""
    covered = []
    for u in np.linspace(-3.0, 3.0, 601):
        cost = lambda theta, u=u: 1.0 + float(theta[0] + np.maximum(theta[0] - u, 0.0))
        table = Table((1,), 0, np.zeros(1), np.ones(1), (0, 0))
        line = probe_of(cost, np.zeros(1)).line(table, WHOLE, lambda: np.ones((1, 1)), 1.0)
        true = 1.0 + (u < 0.0)
        covered.append(abs(line.slope - true) <= line.bar(0.0) + 1e-12)
    assert np.mean(covered) > 0.93


def test_steps_of_rounded_parameters_are_taken_as_they_are():
    """The gradient is projected on the step that was made, not on the one that was meant."""
    at = np.array([1e8, -1e8, 3e7, 1e8])
    gradient = np.array([1.0, 2.0, -3.0, 4.0])
    table = Table((4,), 0, at, gradient, (0, 0))
    probe = probe_of(lambda theta: float(gradient @ (theta - at)), at)
    line = probe.line(table, WHOLE, lambda: np.full((1, 4), 0.7), 1e-8)
    assert line.residual == 0.0
    assert line.slope != pytest.approx(0.7 * gradient.sum(), rel=1e-3)


def test_noise_larger_than_rounding_is_learned_and_makes_bars_wider(smooth):
    """A cost that rounds its parameters to float32, unseen in its values: no alarm, less power."""
    cost, gradient, at = smooth
    rounding = lambda theta: cost(theta.astype(np.float32).astype(float))
    for seed in range(50):
        tested, probe = check(rounding, gradient, at, seed)
        assert not tested.wrong
        assert 1e-5 < tested.power < 0.5
        assert probe.noise > 1e-8


def test_a_cost_of_float32_is_recognised_by_its_values(smooth):
    cost, gradient, at = smooth
    single = lambda theta: float(np.float32(cost(theta)))
    for seed in range(50):
        tested, _ = check(single, gradient, at, seed)
        assert not tested.wrong
        assert 1e-5 < tested.power < 0.5
        assert check(single, 2.0 * gradient, at, seed)[0].wrong


def test_a_given_step_is_taken(smooth):
    tested, _ = check(*smooth, step=1e-4)
    assert {line.step for line in tested.lines} == {1e-4}


def test_a_step_that_is_too_large_is_seen_in_the_bars(smooth):
    for seed in range(50):
        tested, _ = check(*smooth, seed, step=0.3)
        assert not tested.wrong
        assert tested.power > 1e-2


# ---- arrays of few entries


@pytest.mark.parametrize("size", [1, 2, 3])
def test_few_entries_are_moved_one_by_one(size):
    at, seen = np.linspace(0.5, 1.5, size), []
    cost = lambda theta: seen.append(theta.copy()) or float(np.sin(theta).sum())
    tested, evaluations = check_vector(cost, np.cos(at), at)
    assert not tested.wrong
    assert evaluations == 3 * size
    assert (np.count_nonzero(np.array(seen) != at, axis=1) <= 1).all()
    assert tested.power < 1e-7


@pytest.mark.parametrize("size", [1, 2, 3])
def test_an_error_in_few_entries_of_the_stated_size_is_never_missed(size):
    """It was measured: no probability is involved."""
    at = np.linspace(0.5, 1.5, size)
    cost, gradient = lambda theta: 1.0 + float(np.sin(theta).sum()), np.cos(at)
    for seed in range(300):
        error = np.random.default_rng(seed).normal(size=size)
        wrong = gradient + error * (10.0 ** -(4 + seed % 5)) / np.linalg.norm(error)
        tested, _ = check_vector(cost, wrong, at, seed)
        size_of_error = np.linalg.norm(wrong - gradient) / np.linalg.norm(wrong)
        assert tested.wrong or tested.power >= size_of_error


def test_the_error_of_few_entries_is_measured_as_it_is():
    at = np.array([0.5, 1.0, 1.5])
    wrong = np.cos(at) + np.array([0.0, 1e-2, 0.0])
    tested, _ = check_vector(lambda theta: float(np.sin(theta).sum()), wrong, at)
    assert tested.wrong
    assert tested.norms[0] == pytest.approx(1e-2, rel=1e-5)
    assert tested.number > 0, "along a direction in which the other entries show, too"


def test_no_false_alarm_where_few_entries_are_near_kinks():
    for seed in range(300):
        at = np.random.default_rng(seed).normal(size=2)
        kinks = at + 1e-7 * np.random.default_rng(seed).normal(size=2)
        cost = lambda theta, kinks=kinks: 1.0 + float(np.maximum(theta - kinks, 0.0).sum())
        assert not check_vector(cost, (at > kinks) * 1.0, at, seed)[0].wrong


# ---- arrays of tiny parameters


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e-5, 1e-2])
def test_steps_grow_where_tiny_parameters_show_only_rounding(scale):
    """Biases beside weights of ordinary size: the step follows the cost, not what they happen to be."""
    at = scale * np.random.default_rng(0).normal(size=40)
    tested, evaluations = check_vector(lambda theta: 1.0 + float(np.sin(theta + 1.0).sum()), np.cos(at + 1.0), at)
    assert not tested.wrong
    assert tested.power < 5e-6
    assert evaluations <= 9 + 3 * 3


@pytest.mark.parametrize("unit", [1e-12, 1e-6])
@pytest.mark.parametrize("distance", [1.0, 1e-3])
def test_steps_do_not_grow_where_the_parameters_have_another_unit(unit, distance):
    """At a distance of some units the cost is another one; near its minimum that shows less, but it does."""
    at = unit * (1.0 + distance * np.random.default_rng(0).normal(size=40))
    x = at / unit - 1.0
    cost = lambda theta: 1.0 + float(np.sum(np.cosh(theta / unit - 1.0)))
    tested, evaluations = check_vector(cost, np.sinh(x) / unit, at)
    assert not tested.wrong
    assert max(line.step for line in tested.lines) < unit / 16
    assert tested.power < 1e-4
    assert evaluations == 9


def test_a_step_that_has_grown_too_far_is_taken_back():
    """Small parameters so near a minimum that at first nothing is seen, and then how the cost bends."""
    random = np.random.default_rng(0)
    at, x = 1e-4 * random.normal(size=40), 1e-7 * random.normal(size=40)
    tested, _ = check_vector(lambda theta: 1.0 + float(np.sum(np.cosh(theta - at + x))), np.sinh(x), at)
    assert not tested.wrong
    assert tested.power < 0.1


def test_what_has_no_effect_is_not_moved_further_and_further():
    at, seen = np.full(40, 1e-6), []
    tested, evaluations = check_vector(lambda theta: seen.append(np.abs(theta).max()) or 1.0, np.zeros(40), at)
    assert tested.silent
    assert evaluations <= 9 + 3 * 3
    assert max(seen) < 1.0


def test_tolerance(smooth):
    cost, gradient, at = smooth
    wrong = gradient * (1.0 + 1e-4)
    assert check(cost, wrong, at)[0].wrong
    assert not check(cost, wrong, at, tolerance=Tolerance(1e-4, 0.0))[0].wrong
    assert not check(cost, wrong, at, tolerance=Tolerance(0.0, 1e-4))[0].wrong
    assert check(cost, wrong, at, tolerance=Tolerance(1e-6, 0.0))[0].wrong


def test_costs_that_are_not_finite_beside_the_parameters():
    """log of a parameter of 1e-12 among larger ones: all steps lead beyond 0."""
    at = np.array([1.0, 1e-12, 2.0])
    table = Table((3,), 0, at, 1.0 / np.array([1.0, 1.0, 2.0]), (0, 0))
    with np.errstate(invalid="ignore"):
        tested = check_along(probe_of(lambda theta: float(np.log(theta).sum()), at), table, RIGHT, None)
    assert not tested.wrong
    assert tested.power == np.inf


def test_a_bar_of_what_is_not_finite_is_infinite():
    assert Line(1e-3, 1.0, np.nan, np.inf).bar(1.0) == np.inf


def test_entries_left_out_are_not_moved(smooth):
    cost, gradient, at = smooth
    seen = []
    table = Table((ROWS, COLUMNS), 0, at, gradient, (0, 0))
    where = np.zeros((ROWS, COLUMNS), bool)
    where[3] = True
    table.leave_out(where)
    check_along(probe_of(lambda theta: seen.append(theta.copy()) or cost(theta), at), table, RIGHT, None)
    moved = np.any(np.array(seen) != at, axis=0).reshape(ROWS, COLUMNS)
    np.testing.assert_array_equal(moved, ~where)


def test_an_array_is_moved_alone():
    at = np.arange(1.0, 11.0)
    seen = []
    table = Table((2, 3), 3, at, np.ones(10), (0, 0))
    check_along(probe_of(lambda theta: seen.append(theta.copy()) or float(theta.sum()), at), table, RIGHT, None)
    moved = np.any(np.array(seen) != at, axis=0)
    assert np.flatnonzero(moved).tolist() == list(range(3, 9))
    np.testing.assert_array_equal(at, np.arange(1.0, 11.0))
