"""Network: names, shapes, random parameters, predictions, and the loss, all against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from networks import ACTIVATIONS, COSTS, REDUCTIONS, flat, loss, make, predict

import gradcheck_fast as gf

# ---- names and shapes


def test_arrays_are_numbered_by_layer():
    net = gf.Network([gf.Dense(2, 3), gf.Dense(3, 4, bias=False), gf.Dense(4, 1)], cost=gf.SquaredError())
    assert net.shapes == {"W1": (2, 3), "b1": (3,), "W2": (3, 4), "W3": (4, 1), "b3": (1,)}
    assert list(net.shapes) == ["W1", "b1", "W2", "W3", "b3"]
    assert (net.inputs, net.outputs) == (2, 1)


def test_arrays_of_a_named_layer():
    net = gf.Network([gf.Dense(2, 3, name="hidden"), gf.Dense(3, 1)], cost=gf.SquaredError())
    assert list(net.shapes) == ["hidden.W", "hidden.b", "W2", "b2"]


def test_named_layers_take_nested_and_flat_dicts():
    net = gf.Network([gf.Dense(2, 3, "tanh", name="hidden"), gf.Dense(3, 1, name="out")], cost=gf.SquaredError())
    params = net.init(0)
    nested = {layer: {own: params[f"{layer}.{own}"] for own in ("b", "W")} for layer in ("out", "hidden")}
    compiled = net.loss(np.ones((2, 2)), np.ones(2))
    assert compiled(nested) == compiled(params)
    gradient = gf.numerical_gradient(compiled, nested)
    assert list(gradient) == ["out", "hidden"]
    assert gradient["hidden"]["W"].shape == (2, 3)


def test_one_layer_needs_no_list():
    net = gf.Network(gf.Dense(2, 3), gf.SquaredError())
    assert list(net.shapes) == ["W1", "b1"]
    assert gf.Network((gf.Dense(2, 3),), gf.SquaredError()).shapes == net.shapes


def test_repr_says_what_it_is():
    net = gf.Network([gf.Dense(2, 3, "tanh")], cost=gf.Huber(delta=0.5), penalty=gf.L2(0.25))
    for part in ("Dense(inputs=2, outputs=3, activation='tanh'", "Huber", "0.5", "L2", "0.25"):
        assert part in repr(net)
    assert "L2" not in repr(gf.Network(gf.Dense(2, 3), gf.SquaredError()))
    assert "4 samples" in repr(net.loss(np.ones((4, 2)), np.ones((4, 3))))


# ---- init


def test_init_has_the_shapes_and_is_reproducible():
    net = gf.Network([gf.Dense(5, 4, "tanh"), gf.Dense(4, 2)], cost=gf.SquaredError())
    first, again, other = net.init(7), net.init(7), net.init(8)
    assert {name: array.shape for name, array in first.items()} == net.shapes
    np.testing.assert_equal(first, again)
    assert all((first[name] != other[name]).any() for name in first)
    assert (flat(net.init()) != flat(net.init())).any()


def test_init_scales_with_the_fan_in():
    params = gf.Network(gf.Dense(400, 300), gf.SquaredError()).init(0)
    assert params["W1"].std() == pytest.approx(400**-0.5, rel=0.02)
    assert params["b1"].std() == pytest.approx(0.1, rel=0.2)
    assert abs(params["W1"].mean()) < 1e-3


# ---- predict


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_predict_agrees_with_numpy(activation):
    case = make(np.random.default_rng(0), [3, 17, 5], [activation, activation], samples=30)
    expected = predict(case.net, case.params, case.X)
    found = case.net.predict(case.params, case.X)
    assert found.shape == (30, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


def test_predict_for_more_samples_than_a_chunk_takes():
    case = make(np.random.default_rng(1), [3, 5, 2], ["tanh", "identity"], samples=2500)
    found = case.net.predict(case.params, case.X)
    np.testing.assert_allclose(found, predict(case.net, case.params, case.X), rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(found[2400:], case.net.predict(case.params, case.X[2400:]))
    np.testing.assert_array_equal(found, case.net.predict(case.params, case.X, n_threads=1))


def test_predict_one_column():
    net = gf.Network(gf.Dense(1, 2), gf.SquaredError())
    np.testing.assert_array_equal(
        net.predict([np.array([[2.0, 3.0]]), np.array([0.0, 1.0])], [1, 2]), [[2.0, 4.0], [4.0, 7.0]]
    )


# ---- loss


@pytest.mark.parametrize("penalty", [None, gf.L2(0.3), gf.L2(0.3, biases=True)], ids=["plain", "L2", "L2-biases"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("cost", COSTS)
def test_loss_agrees_with_numpy(cost, reduction, penalty):
    case = make(np.random.default_rng(2), [4, 6, 3], ["tanh", "sigmoid"], cost, reduction, samples=11, penalty=penalty)
    value = case.loss(case.params)
    assert type(value) is float
    assert value == pytest.approx(loss(*case), rel=1e-14)


def test_reductions_are_named_as_in_pytorch():
    X, y = np.zeros((4, 1)), np.ones((4, 3))
    values = {
        reduction: gf.Network(gf.Dense(1, 3), gf.SquaredError(reduction=reduction)).loss(X, y)(np.zeros(6))
        for reduction in REDUCTIONS
    }
    assert values == {"sum": 12.0, "batchmean": 3.0, "mean": 1.0}


def test_penalty_is_added_whatever_the_reduction():
    for reduction in REDUCTIONS:
        net = gf.Network(gf.Dense(1, 1), gf.SquaredError(reduction=reduction), penalty=gf.L2(3.0))
        assert net.loss(np.zeros((5, 1)), np.full(5, 7.0))([np.array([[2.0]]), np.array([7.0])]) == 0.5 * 3 * 2**2


@pytest.mark.parametrize("cost", ["squared", "class_logits", "binary_logits"])
def test_loss_of_many_samples_is_the_sum_over_parts(cost):
    """2,500 samples: more than one chunk."""
    case = make(np.random.default_rng(3), [3, 4, 2], ["tanh", "identity"], cost, "sum", samples=2500)
    parts = [case._replace(X=case.X[k : k + 100], y=case.y[k : k + 100]) for k in range(0, 2500, 100)]
    assert case.loss(case.params) == pytest.approx(sum(part.loss(case.params) for part in parts), rel=1e-13)
    for method in ("units", "incremental", "chain", "direct"):
        whole = flat(gf.numerical_gradient(case.loss, case.params, method=method))
        total = sum(flat(gf.numerical_gradient(part.loss, case.params, method=method)) for part in parts)
        assert gf.relative_error(whole, total) < (1e-8 if method == "direct" else 1e-13)


def test_loss_keeps_its_own_copy_of_the_data():
    for cost in ("squared", "row_probabilities", "class_logits", "binary_logits"):
        case = make(np.random.default_rng(4), [3, 4], ["softmax"], cost)
        compiled = case.loss
        before = compiled(case.params), gf.numerical_gradient(compiled, case.params)
        case.X[...] = 99.0
        case.y[...] = 1
        assert compiled(case.params) == before[0], cost
        np.testing.assert_equal(gf.numerical_gradient(compiled, case.params), before[1])


def test_loss_leaves_the_data_as_they_are():
    case = make(np.random.default_rng(5), [3, 4], ["tanh"])
    before = case.X.copy(), case.y.copy()
    for method in ("units", "incremental", "chain", "direct"):
        gf.numerical_gradient(case.loss, case.params, method=method)
    np.testing.assert_array_equal(case.X, before[0])
    np.testing.assert_array_equal(case.y, before[1])


DATA_FORMS = {
    "lists": lambda a: a.tolist(),
    "fortran-order": np.asfortranarray,
    "float32": lambda a: a.astype(np.float32),
    "int8": lambda a: a.astype(np.int8),
    "big-endian": lambda a: a.astype(">f8"),
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "every-other-row": lambda a: np.repeat(a, 2, axis=0)[::2],
}


@pytest.mark.parametrize("form", DATA_FORMS)
def test_data_in_any_form(form):
    rng = np.random.default_rng(6)
    X, y = rng.integers(-9, 9, (6, 3)).astype(float), rng.integers(-9, 9, (6, 2)).astype(float)
    net = gf.Network([gf.Dense(3, 4, "tanh"), gf.Dense(4, 2)], cost=gf.SquaredError())
    params = net.init(0)
    change = DATA_FORMS[form]
    assert net.loss(change(X), change(y))(params) == net.loss(X, y)(params)
    np.testing.assert_array_equal(net.predict(params, change(X)), net.predict(params, X))


def test_boolean_data():
    X = np.array([[True, False], [True, True]])
    net = gf.Network(gf.Dense(2, 1), gf.BinaryCrossEntropy())
    params = net.init(0)
    assert net.loss(X, [True, False])(params) == net.loss(X.astype(float), [1.0, 0.0])(params)


def test_targets_of_one_output_may_be_a_vector():
    net = gf.Network(gf.Dense(2, 1), gf.SquaredError())
    X, y = np.ones((3, 2)), np.arange(3.0)
    assert net.loss(X, y)(net.init(0)) == net.loss(X, y[:, np.newaxis])(net.init(0))


def test_loss_takes_any_tree():
    case = make(np.random.default_rng(7), [3, 4, 2], ["tanh", "identity"])
    compiled, values = case.loss, list(case.params.values())
    expected = compiled(case.params)
    for params in (values, tuple(values), flat(case.params), [values[:2], values[2:]]):
        assert compiled(params) == expected


def test_loss_of_float32_parameters_is_computed_in_float64():
    case = make(np.random.default_rng(8), [3, 4, 2], ["tanh", "identity"])
    single = {name: array.astype(np.float32) for name, array in case.params.items()}
    promoted = {name: array.astype(np.float64) for name, array in single.items()}
    assert case.loss(single) == case.loss(promoted) != case.loss(case.params)


def test_wide_layers_of_every_remainder_of_a_panel():
    for width in (1, 2, 15, 16, 17, 31, 32, 33, 48):
        case = make(np.random.default_rng(width), [width, width, width], ["tanh", "identity"], samples=width)
        assert case.loss(case.params) == pytest.approx(loss(*case), rel=1e-13)
        for method in ("units", "incremental", "chain"):
            assert gf.gradcheck(case.loss, case.gradient, case.params, method=method, rtol=1e-11)


@pytest.mark.parametrize("samples", [1, 2, 23, 24, 25, 47, 48, 49, 121])
def test_numbers_of_samples_around_those_of_a_block(samples):
    case = make(np.random.default_rng(samples), [3, 5, 2], ["tanh", "identity"], samples=samples)
    assert case.loss(case.params) == pytest.approx(loss(*case), rel=1e-13)
    for method in ("units", "incremental", "chain"):
        assert gf.gradcheck(case.loss, case.gradient, case.params, method=method, rtol=1e-11)


def test_loss_at_nan_or_overflow_is_what_numpy_gives():
    net = gf.Network([gf.Dense(1, 1, "exp"), gf.Dense(1, 1)], cost=gf.SquaredError())
    compiled = net.loss([[1.0]], [0.0])
    assert compiled([np.array([[1e3]]), np.zeros(1), np.ones((1, 1)), np.zeros(1)]) == np.inf


# ---- wide layers


@pytest.mark.parametrize("method", ["units", "incremental", "chain"])
@pytest.mark.parametrize("widths", [(4, 320, 300, 280, 10), (4, 300, 300, 1), (5, 520, 12), (3, 270, 270, 270, 5)])
def test_gradient_of_wide_layers_before_a_narrow_one(widths, method):
    """More than 256 wide: the product with few columns goes in pieces."""
    case = make(np.random.default_rng(2), widths, ["tanh"] * (len(widths) - 2) + ["identity"], samples=2)
    assert gf.relative_error(gf.numerical_gradient(case.loss, case.params, method=method), case.gradient) < 1e-14


def test_arrays_may_have_other_names():
    layers = [gf.Dense(2, 3, "tanh"), gf.Dense(3, 1, bias=False)]
    net = gf.Network(layers, gf.SquaredError(), names=["in.weight", "in.bias", "out"])
    assert net.shapes == {"in.weight": (2, 3), "in.bias": (3,), "out": (3, 1)}
    assert net.predict(net.init(0), np.ones((4, 2))).shape == (4, 1)
    for names in (["a", "b"], ["a", "b", "a"]):
        with pytest.raises(ValueError, match="names: expected 3 different ones, for W1, b1, W2, got a, b"):
            gf.Network(layers, gf.SquaredError(), names=names)
