"""check_layer: backward passes that are functions of a cache."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import layers
import numpy as np
import pytest

import gradcheck_fast as gf


def draw(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


CONV = {"stride": 2, "pad": 1}
POOL = {"pool_height": 3, "pool_width": 3, "stride": 2}
CASES = {
    "affine": ((draw(5, 2, 3), draw(6, 4), draw(4)), {"x": "x", "w": "w", "b": "b"}),
    "conv": ((draw(2, 3, 7, 6), draw(4, 3, 3, 2), draw(4), CONV), {"stride": "x", "overlap": "x"}),
    "batchnorm": ((draw(6, 3), draw(3), draw(3), {"mode": "train", "eps": 1e-3}), {"variance": "x"}),
    "max_pool": ((draw(2, 2, 7, 5), POOL), {"all": "x", "overlap": "x"}),
    "lstm_step": ((draw(4, 3), draw(4, 5), draw(5, 4).T, draw(3, 20), draw(5, 20), draw(20)), {"cell": "prev_c"}),
    "embedding": ((np.array([2, 0, 2, 1]), draw(4, 3)), {"repeated": "W"}),
    "dropout": ((draw(6, 5), {"p": 0.4}), {"scale": "x"}),
}
INPUTS = {name: inputs for name, (inputs, _) in CASES.items()}
MISTAKES = [(name, wrong, array) for name, (_, mistakes) in CASES.items() for wrong, array in mistakes.items()]


def passes(name):
    return getattr(layers, f"{name}_forward"), getattr(layers, f"{name}_backward")


@pytest.mark.parametrize("name", CASES)
def test_a_right_backward_pass_passes(name):
    inputs = INPUTS[name]
    before = deepcopy(inputs)
    report = gf.check_layer(*passes(name), inputs, directions=2)
    assert report.ok, str(report)
    for given, kept in zip(inputs, before, strict=True):
        np.testing.assert_equal(given, kept)


@pytest.mark.parametrize("name, wrong, array", MISTAKES)
def test_a_mistake_fails_and_the_array_is_named(name, wrong, array):
    forward, backward = passes(name)
    report = gf.check_layer(forward, partial(backward, wrong=wrong), INPUTS[name])
    assert not report.ok
    assert array in [result.name for result in report.arrays if result.status == "wrong"]


def test_arrays_have_the_names_of_the_arguments_and_configurations_have_no_gradient():
    report = gf.check_layer(*passes("conv"), INPUTS["conv"])
    assert [array.name for array in report.arrays] == ["x", "w", "b"]
    report = gf.check_layer(*passes("embedding"), INPUTS["embedding"])
    assert [array.name for array in report.arrays] == ["W"]


def test_the_forward_pass_is_traced():
    report = gf.check_layer(*passes("conv"), INPUTS["conv"])
    assert report.method == "chain"
    assert report.relative_error < 1e-14
    assert gf.check_layer(*passes("conv"), INPUTS["conv"], trace=False).method == "direct"


def test_every_output_is_seen_by_itself():
    report = gf.check_layer(*passes("lstm_step"), INPUTS["lstm_step"])
    assert {output for output, _ in report.seen_from} == {"output[0]", "output[1]"}


# ---- other conventions of functions


x, w, b = INPUTS["affine"]


def no_cache(x, w, b):
    return layers.affine_forward(x, w, b)[0]


def by_name(dout, cache):
    dx, dw, db = layers.affine_backward(dout, cache)
    return {"dw": dw, "db": db, "dx": dx, "dz": dout}


WAYS = {
    "a dict of gradients": (layers.affine_forward, by_name),
    "the cache first": (
        lambda x, w, b: layers.affine_forward(x, w, b)[::-1],
        lambda cache, dout: layers.affine_backward(dout, cache),
    ),
    "another order of arrays": (
        layers.affine_forward,
        lambda dout, cache: layers.affine_backward(dout, cache)[::-1],
    ),
    "a list": (layers.affine_forward, lambda dout, cache: list(layers.affine_backward(dout, cache))),
    "any arguments": (lambda *inputs: layers.affine_forward(*inputs), lambda *given: layers.affine_backward(*given)),
    "inputs by name": (no_cache, lambda dout, x, w, b: layers.affine_backward(dout, (x, w, b))),
    "inputs by name, the gradient last": (no_cache, lambda x, w, b, dout: layers.affine_backward(dout, (x, w, b))),
    "inputs by their order": (no_cache, lambda g, data, weight, bias: layers.affine_backward(g, (data, weight, bias))),
}


@pytest.mark.parametrize("way", WAYS)
def test_other_ways_to_write_the_same(way):
    report = gf.check_layer(*WAYS[way], (x, w, b))
    assert report.ok, str(report)
    names = [f"inputs[{k}]" for k in range(3)] if way == "any arguments" else ["x", "w", "b"]
    assert [array.name for array in report.arrays] == names


def test_one_input_need_be_no_tuple():
    report = gf.check_layer(lambda x: (np.tanh(x), x), lambda dout, cache: dout * (1 - np.tanh(cache) ** 2), draw(3, 2))
    assert report.ok
    assert [array.name for array in report.arrays] == ["x"]
    assert not gf.check_layer(lambda x: (np.tanh(x), x), lambda dout, cache: dout, draw(3, 2))


def test_inputs_without_a_gradient_are_fixed_and_that_is_noted():
    report = gf.check_layer(
        layers.affine_forward, lambda dout, cache: layers.affine_backward(dout, cache)[1:], (x, w, b)
    )
    assert report.ok
    assert [array.name for array in report.arrays] == ["w", "b"]
    assert "there is no gradient of x: it is taken as fixed" in report.notes


def rnn_cell_forward(xt, a_prev, parameters):
    a_next = np.tanh(parameters["Wax"] @ xt + parameters["Waa"] @ a_prev + parameters["ba"])
    yt = parameters["Wya"] @ a_next
    return a_next, yt, (a_next, a_prev, xt, parameters)


def rnn_cell_backward(da_next, cache):
    a_next, a_prev, xt, parameters = cache
    dz = da_next * (1 - a_next**2)
    return {"dxt": parameters["Wax"].T @ dz, "da_prev": parameters["Waa"].T @ dz, "dWax": dz @ xt.T,
            "dWaa": dz @ a_prev.T, "dba": dz.sum(axis=1, keepdims=True)}  # fmt: skip


def test_parameters_in_a_dict_and_outputs_without_a_gradient():
    parameters = {"Wax": draw(5, 3), "Waa": draw(5, 5), "ba": draw(5, 1), "Wya": draw(2, 5)}
    report = gf.check_layer(rnn_cell_forward, rnn_cell_backward, (draw(3, 10), draw(5, 10), parameters))
    assert report.ok, str(report)
    names = ["xt", "a_prev", *(f"parameters[{name!r}]" for name in ("Wax", "Waa", "ba"))]
    assert [array.name for array in report.arrays] == names
    assert any("1 of 2 outputs" in note for note in report.notes)


def test_arguments_of_both_passes_are_passed_on():
    def forward(A_prev, W, activation):
        Z = A_prev @ W
        return np.tanh(Z) if activation == "tanh" else np.maximum(Z, 0), (A_prev, W, Z)

    def backward(dA, cache, activation):
        A_prev, W, Z = cache
        dZ = dA * (1 - np.tanh(Z) ** 2 if activation == "tanh" else Z > 0)
        return dZ @ W.T, A_prev.T @ dZ

    for activation in ("tanh", "relu"):
        assert gf.check_layer(forward, backward, (draw(4, 3), draw(3, 2), activation))


def test_outputs_in_a_tuple_beside_the_cache():
    forward = lambda x: ((np.sin(x), x**2), x)
    report = gf.check_layer(forward, lambda douts, cache: douts[0] * np.cos(cache) + douts[1] * 2 * cache, draw(4))
    assert report.ok


@pytest.mark.parametrize(
    "backward",
    [
        lambda cache: 2 * (cache[0] - cache[1]) / cache[0].size,
        lambda dout, cache: dout * 2 * (cache[0] - cache[1]) / cache[0].size,
    ],
)
def test_a_loss_needs_no_gradient_of_its_output(backward):
    forward = lambda p, y: (np.mean((p - y) ** 2), (p, y))
    report = gf.check_layer(forward, backward, (draw(3, 2), draw(4, 2)[:3]))
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["p"]


def test_random_numbers_are_the_same_in_every_call_and_are_left_as_they_were():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert gf.check_layer(*passes("dropout"), INPUTS["dropout"])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_float32_is_rounded():
    inputs = tuple(part.astype(np.float32) for part in (x, w, b))
    report = gf.check_layer(*passes("affine"), inputs)
    assert report.ok, str(report)


# ---- what does not fit


def test_exceptions_of_the_passes_come_through():
    def backward(dout, cache):
        raise ZeroDivisionError("of the user's")

    with pytest.raises(ZeroDivisionError, match="of the user's"):
        gf.check_layer(layers.affine_forward, backward, (x, w, b))


ERRORS = {
    "no cache is given": (lambda x: x * 2, lambda dout, cache: dout, (draw(3),), r"let it give \(out, cache\)"),
    "no gradient is taken": (
        lambda x: (x * 2, x), lambda cache: cache, (draw(3),), "no argument that could be the gradient of the output"
    ),
    "one argument too many": (
        lambda x: (x * 2, x), lambda dout, cache, scale: dout, (draw(3),), r"'scale' .* lambda dout, cache: backward"
    ),
    "a wrong shape": (
        layers.affine_forward, lambda dout, cache: (dout, dout, dout), (x, w, b), r"x: expected the shape \(5, 2, 3\)"
    ),
    "shapes that fit nothing": (
        layers.affine_forward, lambda dout, cache: (dout, dout), (x, w, b),
        r"shapes \(5, 4\); they do not fit .* w \(6, 4\)",
    ),
    "nothing is returned": (layers.affine_forward, lambda dout, cache: None, (x, w, b), "no gradient of x, w, b"),
    "too few inputs": (layers.affine_forward, layers.affine_backward, (x, w), r"forward\(x, w, b\) cannot be called"),
    "forward gives nothing": (lambda x: None, lambda dout: dout, (draw(3),), "it returns nothing"),
    "more gradients than outputs": (
        lambda x: (x * 2, x), lambda dh, dc, cache: dh + dc, (draw(3),),
        "takes the gradients dh, dc, but forward gives one",
    ),
    "no floating-point numbers": (
        lambda n: (n, n), lambda dout, cache: dout, (np.arange(3),), "member 0 .* is an array of int64"
    ),
    "no function": (3.0, layers.affine_backward, (x, w, b), "forward: expected a function"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_what_does_not_fit(case):
    forward, backward, inputs, said = ERRORS[case]
    with pytest.raises((TypeError, ValueError), match=said):
        gf.check_layer(forward, backward, inputs)


def test_options_that_are_not_known():
    with pytest.raises(TypeError, match="check_layer: it has no option 'tolerance'"):
        gf.check_layer(*passes("affine"), INPUTS["affine"], tolerance=1)
    with pytest.raises(TypeError, match="forward, backward, inputs"):
        gf.check_layer(layers.affine_forward)
