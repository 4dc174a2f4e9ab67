import math

import numpy as np
import pytest
from operator_peer import numbers

from gradcheck_fast.frontends.graphs.graph_loss import graph_loss
from gradcheck_fast.frontends.operators import elementary
from gradcheck_fast.inputs.trees import pack


def steps_of(ours, x):
    """The names of the steps that an operator of one array takes, besides the sum of its outputs."""
    traced = graph_loss(lambda of: float(np.sum(ours(of["x"]))), lambda recording, of: np.sum(ours(of["x"])), pack(x))
    names = [traced.program.steps[number].name for number in traced.engine.computed]
    return [name for name in names[:-1] if name != "constant"]


def test_a_primitive_of_plain_arrays_is_a_plain_array():
    found = elementary.primitive("sigmoid", [0.0, -800.0])
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, [0.5, 0.0])


def test_a_primitive_of_a_traced_array_is_one_step_and_takes_masks_as_numbers():
    assert steps_of(lambda x: elementary.primitive("sigmoid", x), {"x": numbers(3)}) == ["sigmoid"]
    assert steps_of(lambda x: elementary.primitive("add", x > 0.0, x), {"x": numbers(3)}) == ["greater", "add"]


def test_functions_that_numpy_lacks_are_those_of_the_c_library():
    x = np.array([-1.5, 0.25, 3.0])
    np.testing.assert_allclose(elementary.erf(x), [math.erf(z) for z in x], rtol=1e-15)
    np.testing.assert_allclose(elementary.erfc(x), [math.erfc(z) for z in x], rtol=1e-15)
    np.testing.assert_allclose(elementary.gammaln(x[1:]), [math.lgamma(z) for z in x[1:]], rtol=1e-14)


def test_a_mask_becomes_numbers():
    mask = elementary.as_float(np.array([True, False]))
    assert mask.dtype == np.float64
    assert steps_of(lambda x: elementary.as_float(x > 0.0) * x, {"x": numbers(3)}) == ["greater", "multiply"]


def test_a_transposed_view_is_reshaped_without_a_map_of_its_entries():
    def turned(x):
        return elementary.reshaped(np.transpose(x), (3, 2, 2))

    assert steps_of(turned, {"x": numbers(4, 3)}) == ["strided", "reshape"]
    x = numbers(4, 3)
    np.testing.assert_array_equal(turned(x), x.T.reshape(3, 2, 2))


def test_losses_are_reduced_as_pytorch_names_it():
    losses = np.arange(6.0).reshape(2, 3)
    assert elementary.reduced(losses, "none") is losses
    assert elementary.reduced(losses, "sum") == 15.0
    assert elementary.reduced(losses, "mean") == 2.5
    assert elementary.reduced(losses, "mean", 5.0) == 3.0
    assert elementary.reduced(losses, "batchmean") == 7.5
    with pytest.raises(ValueError, match="reduction: expected 'mean', 'sum', 'none' or 'batchmean', got 'max'"):
        elementary.reduced(losses, "max")
