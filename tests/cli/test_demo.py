"""The demonstration: real data, a right gradient and a planted mistake."""

import io

import numpy as np

from gradcheck_fast.cli import demo


def test_the_data_are_360_digits_of_all_classes():
    X, y = demo.digits()
    assert X.shape == (360, 64)
    assert X.min() == 0
    assert X.max() == 1
    assert set(y) == set(range(10))
    assert np.bincount(y).min() > 30


def test_the_right_gradient_passes_and_the_planted_mistake_is_found_where_it_is():
    text = io.StringIO()
    right, wrong = demo.run(text)
    assert right.ok
    assert right.relative_error < 1e-14
    assert not wrong.ok
    assert [array.name for array in wrong.arrays if array.wrong] == ["W1", "b1"]
    assert text.getvalue().count("gradcheck: ") == 2
