"""Domain: parameters, directions and steps that stay in a box."""

import numpy as np

from gradcheck_fast.inputs.domain import Domain

LOW, HIGH = np.array([0.0, -np.inf, 0.0, 1.0]), np.array([np.inf, 1.0, 1.0, 1.0])
THETA = np.array([0.0, 1.0, 0.25, 1.0])
BOX = Domain(LOW, HIGH)


def test_what_leaves_the_box_is_moved_to_the_other_side():
    moved = THETA + np.array([-0.5, 0.5, 0.5, 3.0])
    assert BOX.into(moved, THETA).tolist() == [0.5, 0.5, 0.75, 1.0]
    assert BOX.into(THETA + np.array([0.0, 0.0, -0.9, 0.0]), THETA)[2] == 1.0  # both sides are too near


def test_directions_stay_inside_as_far_as_they_are_gone():
    direction = BOX.along(THETA, np.array([-1.0, 1.0, -1.0, 1.0]), 10.0)
    assert BOX.holds(THETA + 10.0 * direction)
    assert direction[0] == 1.0
    assert direction[1] == -1.0
    assert 0.07 < direction[2] <= 0.075  # there is more room above
    assert direction[3] == 0.0


def test_the_largest_step_goes_once_to_both_sides_or_twice_to_one():
    steps = BOX.largest_steps(THETA)
    assert np.isinf(steps[:2]).all()
    assert 0.374 < steps[2] <= 0.375
    assert steps[3] == 0.0
    assert BOX.can_move(THETA).tolist() == [True, True, True, False]


def test_some_entries():
    part = BOX.of(np.array([2, 0]))
    assert part.low.tolist() == [0.0, 0.0]
    assert part.has_room(np.array([0.25, 0.0]), np.array([0.2, 0.2])).tolist() == [True, False]
