"""Which array is the gradient of which: by names, and by the order and shapes of what is returned."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck_fast.checks.layers.layer_gradients import (
    fitting_list,
    gradient_of_input,
    gradient_places,
    is_named_as_parameter,
    returned_gradients,
    spellings,
)
from gradcheck_fast.inputs.places import members, numbers_in, spelled


def partner(name, **attributes):
    """The name of what is taken for the gradient of `name` in an object with these attributes; "" if nothing is."""
    model = SimpleNamespace(**attributes)
    arrays = numbers_in(model)
    path = next(path for path in arrays if spelled(path) == name)
    return spelled(gradient_places({path: np.shape(arrays[path])}, arrays).get(path, ()))


W, V = np.ones((2, 3)), np.ones((4, 3))


@pytest.mark.parametrize(
    "name, gradient",
    [
        ("W", "dW"), ("W", "grad_W"), ("W", "W_grad"), ("W", "gradW"), ("W", "dLdW"), ("W", "dL_dW"),
        ("W", "W_gradient"), ("W", "nabla_W"), ("W", "delta_W"), ("W", "dw"), ("W_xh", "dWxh"), ("_W", "_dW"),
        ("_Layer__W", "_Layer__dW"), ("weights", "dweights"),
        ("weights", "dW"), ("weights", "dweight"), ("weights", "grad_w"), ("bias", "db"), ("biases", "dbiases"),
        ("biases", "db"), ("weights2", "dW2"), ("weights1", "d_weights1"), ("kernel", "dkernel"), ("gamma", "dgamma"),
    ],
)  # fmt: skip
def test_names_of_gradients(name, gradient):
    assert partner(name, **{name: W, "other": W, gradient: W}) == gradient


def test_the_best_name_is_taken():
    assert partner("W", W=W, W_grad=W, dW=W, dw=W) == "dW"
    assert partner("W1", W1=W, dW=W, dW1=W, dW2=W) == "dW1"


def test_an_array_is_the_gradient_of_one_parameter_only():
    arrays = numbers_in(SimpleNamespace(w=W, W=W, dW=W))
    names = {spelled(path): path for path in arrays}
    found = gradient_places({names["w"]: W.shape, names["W"]: W.shape}, arrays)
    assert found == {names["W"]: names["dW"]}


def test_the_shape_decides_between_names_and_a_plain_name_is_taken_with_another_shape():
    assert partner("W", W=W, dW=V, W_grad=W) == "W_grad"
    assert partner("W", W=W, dW=W.T) == "dW"
    assert partner("W", W=W, dw=W.T) == ""
    assert partner("b", b=np.ones((1, 3)), db=np.ones(3)) == "db"


@pytest.mark.parametrize("other", ["W2", "vW", "W_old", "mW", "dV", "gates", "Wd2"])
def test_other_arrays_are_no_gradients(other):
    assert partner("W", W=W, **{other: W}) == ""


def test_words_are_abbreviated_and_names_are_not():
    assert {"dW", "dweight", "dw"} <= set(spellings("weights"))
    assert "dW" not in spellings("Wx")
    assert "W_g" not in spellings("W_f")


def test_dicts_lists_and_objects():
    assert partner("params['W']", params={"W": W}, grads={"W": W, "V": V}) == "grads['W']"
    assert partner("params['W']", params={"W": W}, grads={"dW": W}) == "grads['dW']"
    assert partner("params[1]", params=[W, V], grads=[W, V]) == "grads[1]"
    assert partner("params[1]", params=[W, W], dparams=[W, W]) == "dparams[1]"
    assert partner("W", W=W, gradients={"W": W}) == "gradients['W']"
    assert partner("W", W=W, grads={"dW": W}) == "grads['dW']"
    assert partner("W.data", W=SimpleNamespace(data=W, grad=W)) == "W.grad"
    layers = [SimpleNamespace(W=W, dW=W), SimpleNamespace(W=W, dW=W)]
    assert partner("layers[1].W", layers=layers) == "layers[1].dW"
    assert partner("weights[0]", weights=[W, V], nabla_weights=[W, V]) == "nabla_weights[0]"
    assert partner("params['W']", params={"W": W}, cache={"W": W}) == ""


def test_a_list_of_gradients_beside_attributes():
    arrays = numbers_in(SimpleNamespace(W=W, V=V, grads=[W, V], cache=[W, V]))
    assert list(map(spelled, fitting_list([W.shape, V.shape], arrays))) == ["grads[0]", "grads[1]"]
    assert fitting_list([V.shape, W.shape], arrays) is None
    assert fitting_list([], arrays) is None


def test_gradients_of_inputs():
    arrays = numbers_in(SimpleNamespace(dx=W, dinputs=V, dh=V))
    found = lambda name, shape, is_first: spelled(gradient_of_input(name, shape, arrays, is_first) or ())
    assert found("h", V.shape, False) == "dh"
    assert found("X", W.shape, True) == "dx"
    assert found("data", V.shape, True) == "dinputs"
    assert found("data", V.shape, False) == ""
    assert found("x", (9,), True) == "dx"  # the comparison will say that the shapes differ


def test_names_of_parameters():
    paths = numbers_in(SimpleNamespace(W=W, b1=W, weights=[W], gamma=W, params={"a": W}, mean=W, table=W, beta_x=W))
    named = {spelled(path) for path in paths if is_named_as_parameter(path)}
    assert named == {"W", "b1", "weights[0]", "gamma", "params['a']", "beta_x"}


# ---- what is returned


X, B = np.ones((5, 2)), np.ones(3)
INPUTS = [("x", X), ("W", W), ("b", B)]


def taken(returned, inputs=INPUTS, more=()):
    return {name: spelled(path) for name, path in returned_gradients(members(returned), inputs, more).items()}


def test_returns_by_order_by_shape_and_by_name():
    everything = {"x": "[0]", "W": "[1]", "b": "[2]"}
    assert taken((X, W, B)) == everything
    assert taken([X, None, B]) == {"x": "[0]", "b": "[2]"}
    assert taken((B, X, W)) == {"x": "[1]", "W": "[2]", "b": "[0]"}
    assert taken((W, B)) == {"W": "[0]", "b": "[1]"}
    assert taken(W) == {"W": ""}
    assert taken({"db": B, "dx": X, "dz": V}) == {"x": "['dx']", "b": "['db']"}
    assert taken((X, {"W": W, "b": B})) == {"x": "[0]", "W": "[1]['W']", "b": "[1]['b']"}
    assert taken((X, W, B[None])) == everything


def test_inputs_that_have_no_gradient():
    inputs = [("", np.arange(3)), ("W", W), ("", "mean")]
    assert taken((None, W, None), inputs) == {"W": "[1]"}
    assert taken(W, inputs) == {"W": ""}
    assert taken((W,), inputs) == {"W": "[0]"}


def test_arrays_of_one_shape_are_taken_in_order():
    assert taken((V,), [("h", V), ("c", V)]) == {"h": "[0]"}
    assert taken((V, V), [("h", V), ("c", V)]) == {"h": "[0]", "c": "[1]"}


def test_parameters_of_a_layer_come_after_the_inputs():
    assert taken((X, W), [("x", X)], [("W", W), ("b", B)]) == {"x": "[0]", "W": "[1]"}
    assert taken(X, [("x", X)], [("W", X)]) == {"x": ""}


def test_as_many_arrays_as_inputs_may_have_wrong_shapes_and_others_may_not():
    assert taken((V, W, B)) == {"x": "[0]", "W": "[1]", "b": "[2]"}
    with pytest.raises(
        ValueError, match=r"shapes \(4, 3\); they do not fit the arrays x \(5, 2\), W \(2, 3\), b \(3,\)"
    ):
        taken((V, V))
