"""What does not fit is refused: the message names the culprit, and nothing has been changed."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest

import gradcheck_fast as gf

NET = gf.Network([gf.Dense(2, 3, "tanh"), gf.Dense(3, 1)], cost=gf.SquaredError())
CLASSES = gf.Network([gf.Dense(2, 3)], cost=gf.CrossEntropy())
ROWS = gf.Network([gf.Dense(2, 3, "softmax")], cost=gf.CrossEntropy(from_logits=False))
BINARY = gf.Network([gf.Dense(2, 1)], cost=gf.BinaryCrossEntropy())
OTHER = gf.Network([gf.Dense(4, 3, "tanh"), gf.Dense(3, 1)], cost=gf.SquaredError())

X = np.random.default_rng(0).normal(size=(5, 2))
Y = np.random.default_rng(1).normal(size=(5, 1))
P = NET.init(0)
FLAT = np.concatenate([array.ravel() for array in P.values()])
LOSS = NET.loss(X, Y)
GRADIENT = gf.numerical_gradient(LOSS, P)


def replaced(array, index, value):
    """A copy with one entry replaced (and, to see that the first one is named, the last)."""
    copy = np.array(array, np.result_type(array, type(value)))
    copy[index] = copy.flat[-1] = value
    return copy


def check_table(calls):
    return pytest.mark.parametrize(("call", "named"), [row[1:] for row in calls], ids=[row[0] for row in calls])


def assert_refused(call, named):
    before = [array.copy() for array in (X, Y, FLAT, *P.values(), *GRADIENT.values())]
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    message = str(error.value)
    for part in named:
        assert part in message, f"{part!r} is not in: {message}"
    assert re.match(r"[\w .]+: ", message), f"begins with the name of the argument: {message}"
    after = [X, Y, FLAT, *P.values(), *GRADIENT.values()]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


# ---- parameters


def params_table():
    yield "transposed", {**P, "W1": P["W1"].T}, ("W1", "(2, 3)", "(3, 2)", "transposed")
    yield "wrong-shape", {**P, "b1": np.ones(4)}, ("b1", "(3,)", "(4,)")
    yield "column-for-vector", {**P, "b1": np.ones((3, 1))}, ("b1", "(3,)", "(3, 1)")
    yield "number-for-vector", {**P, "b2": 1.0}, ("b2", "(1,)", "()")
    yield "wrong-shape-in-list", [P["W1"], np.ones(4), P["W2"], P["b2"]], ("b1", "[1]", "(3,)", "(4,)")
    yield "missing", {name: P[name] for name in ("W1", "b1", "W2")}, ("missing b2",)
    yield "missing-in-list", list(P.values())[:3], ("4 arrays", "W1, b1, W2, b2", "got 3")
    yield "extra", {**P, "W3": np.ones(1)}, ("unexpected W3",)
    yield "extra-in-list", [*P.values(), np.ones(1)], ("4 arrays", "W1, b1, W2, b2", "got 5")
    yield "misspelt", {"w1": P["W1"], **{n: P[n] for n in ("b1", "W2", "b2")}}, ("w1", "did you mean 'W1'")
    yield "another-order-in-list", [P["b1"], P["W1"], P["W2"], P["b2"]], ("W1", "[0]", "(2, 3)", "(3,)")
    yield "of-another-network", OTHER.init(0), ("W1", "(2, 3)", "(4, 3)")
    yield "short-flat", FLAT[:-1], ("13 entries", "(12,)")
    yield "long-flat", np.ones(20), ("13 entries", "(20,)")
    yield "flat-column", FLAT[:, np.newaxis], ("4 arrays", "got 1")
    yield "empty", {}, ("missing W1, b1, W2, b2",)
    yield "none", None, ("params", "None")
    yield "text", "weights.npz", ("params", "<U11")
    yield "nan", {**P, "W1": replaced(P["W1"], (1, 0), np.nan)}, ("W1", "nan", "[1, 0]")
    yield "inf", {**P, "b1": replaced(P["b1"], 1, np.inf)}, ("b1", "inf", "[1]")
    yield "minus-inf", {**P, "W2": replaced(P["W2"], (0, 0), -np.inf)}, ("W2", "-inf", "[0, 0]")
    yield "nan-in-list", [replaced(P["W1"], (1, 0), np.nan), *list(P.values())[1:]], ("[0]", "nan", "[1, 0]")
    yield "nan-in-flat", replaced(FLAT, 7, np.nan), ("b1", "nan", "[1]")
    for dtype in ("complex128", "object", "str", "bool", "longdouble", "datetime64[s]", "S8"):
        array = np.ones((2, 3)).astype("int64" if "datetime" in dtype else "float64").astype(dtype)
        yield dtype, {**P, "W1": array}, ("W1", f"dtype {array.dtype}")
    yield "array-that-is-none", {**P, "W1": None}, ("W1", "None")
    yield "ragged-list", {**P, "W1": np.array([[1.0, 2.0], [3.0]], object)}, ("W1", "ragged")


@check_table([(name, params, named) for name, params, named in params_table()])
def test_params_of_a_network(call, named):
    for use in (
        lambda: LOSS(call),
        lambda: NET.predict(call, X),
        lambda: gf.numerical_gradient(LOSS, call),
        lambda: gf.gradcheck(LOSS, GRADIENT, call),
    ):
        assert_refused(use, ("params: ", *named))


@check_table(
    [
        ("nan", {"a": {"W": replaced(np.ones((2, 2)), (0, 1), np.nan)}}, ("a.W", "nan", "[0, 1]")),
        ("inf-number", [1.0, np.inf], ("[1]", "inf")),
        ("bool", {"on": True}, ("on", "bool")),
        ("none", None, ("None",)),
        ("text", {"a": "x"}, ("a", "<U1")),
        ("set", {1.0, 2.0}, ("object",)),
        ("generator", (x for x in (1.0, 2.0)), ("object",)),
        ("same-name", {"a": {"b": 1.0}, "a.b": 2.0}, ("a.b", "two arrays")),
    ]
)
def test_params_of_a_function(call, named):
    def never(params):
        pytest.fail("was called")

    assert_refused(lambda: gf.numerical_gradient(never, call), ("params: ", *named))
    assert_refused(lambda: gf.gradcheck(never, never, call), ("params: ", *named))


# ---- gradients


def gradients_table():
    yield "transposed", {**GRADIENT, "W1": GRADIENT["W1"].T}, ("W1", "(2, 3)", "(3, 2)", "transposed")
    yield "wrong-shape", {**GRADIENT, "b1": np.ones((2, 3))}, ("b1", "(3,)", "(2, 3)")
    yield "missing", {name: GRADIENT[name] for name in ("W1", "b1", "b2")}, ("missing W2",)
    yield "extra", {**GRADIENT, "dW": 1.0}, ("unexpected dW",)
    yield "misspelt", {f"{name}x": array for name, array in GRADIENT.items()}, ("W1x", "did you mean 'W1'")
    yield "list-too-short", list(GRADIENT.values())[:2], ("4 arrays", "got 2")
    yield "flat-too-short", FLAT[:-1], ("13 entries", "(12,)")
    yield "number", 1.0, ("4 arrays", "got 1")
    yield "of-another-network", OTHER.init(0), ("W1", "(2, 3)", "(4, 3)")
    yield "none", None, ("None",)
    yield "none-inside", {**GRADIENT, "b1": None}, ("b1", "None")
    yield "complex", {**GRADIENT, "b1": np.ones(3, complex)}, ("b1", "complex128")
    yield "bool", {**GRADIENT, "b1": np.ones(3, bool)}, ("b1", "dtype bool")
    yield "text", "x", ("<U1",)
    yield "report", gf.gradcheck(LOSS, GRADIENT, P), ("object",)


@check_table(list(gradients_table()))
@pytest.mark.parametrize("given", ["as-it-is", "by-a-function"])
def test_gradient(call, named, given):
    gradient = call if given == "as-it-is" else lambda params: call
    assert_refused(lambda: gf.gradcheck(LOSS, gradient, P), ("gradient: ", *named))


def test_gradient_of_a_function_names_what_the_user_called_it():
    """A bare array has no name: there is nothing to name but the argument."""
    for gradient in (np.ones((3, 2)), np.ones((2, 4))):
        with pytest.raises(ValueError, match=r"^gradient: expected the shape \(2, 3\), got"):
            gf.gradcheck(lambda p: p.sum(), gradient, np.ones((2, 3)))


# ---- data

X_NAN = replaced(X, (2, 1), np.nan)
ZEROS = np.zeros((5, 1))
ONE_HOT = np.eye(3)[[0, 1, 2, 1, 0]]


@check_table(
    [
        ("X-too-wide", lambda: NET.loss(np.ones((5, 3)), Y), ("X", "(samples, 2)", "(5, 3)")),
        ("X-transposed", lambda: NET.loss(X.T, Y), ("X", "(samples, 2)", "(2, 5)")),
        ("X-one-sample", lambda: NET.loss(X[0], Y[0]), ("X", "(samples, 2)", "(2,)", "np.newaxis")),
        ("X-number", lambda: NET.loss(1.0, Y), ("X", "(samples, 2)", "()")),
        ("X-cube", lambda: NET.loss(np.ones((5, 2, 1)), Y), ("X", "(5, 2, 1)")),
        ("X-no-samples", lambda: NET.loss(X[:0], Y[:0]), ("X", "at least one sample")),
        ("X-none", lambda: NET.loss(None, Y), ("X", "None")),
        ("X-nan", lambda: NET.loss(X_NAN, Y), ("X", "nan", "[2, 1]")),
        ("X-inf", lambda: NET.loss(replaced(X, (0, 1), np.inf), Y), ("X", "inf", "[0, 1]")),
        ("X-complex", lambda: NET.loss(X.astype(complex), Y), ("X", "complex128")),
        ("X-text", lambda: NET.loss(X.astype(str), Y), ("X", "<U")),
        ("X-object", lambda: NET.loss(X.astype(object), Y), ("X", "object")),
        ("X-ragged", lambda: NET.loss([[1, 2], [3]], Y), ("X", "inhomogeneous")),
        ("y-too-short", lambda: NET.loss(X, Y[:4]), ("y", "(5, 1)", "(4, 1)")),
        ("y-too-long", lambda: NET.loss(X, np.ones(6)), ("y", "(5, 1)", "(6,)")),
        ("y-too-wide", lambda: NET.loss(X, np.ones((5, 2))), ("y", "(5, 1)", "(5, 2)")),
        ("y-row", lambda: NET.loss(X, Y.T), ("y", "(5, 1)", "(1, 5)")),
        ("y-number", lambda: NET.loss(X, 1.0), ("y", "(5, 1)", "()")),
        ("y-none", lambda: NET.loss(X, None), ("y", "None")),
        ("y-nan", lambda: NET.loss(X, replaced(Y, (3, 0), np.nan)), ("y", "nan", "[3, 0]")),
        ("y-inf", lambda: NET.loss(X, replaced(Y, (3, 0), np.inf)), ("y", "inf", "[3, 0]")),
        ("y-vector-nan", lambda: NET.loss(X, replaced(Y, (3, 0), np.nan)[:, 0]), ("y", "nan", "index [3];")),
        ("y-complex", lambda: NET.loss(X, Y.astype(complex)), ("y", "complex128")),
        ("y-text", lambda: NET.loss(X, Y.astype(str)), ("y", "<U")),
        ("y-vector-for-three-outputs", lambda: ROWS.loss(X, np.ones(5)), ("y", "class indices", "float64")),
        ("class-too-large", lambda: CLASSES.loss(X, [0, 1, 3, 2, 4]), ("y", "3", "[2]", "0 to 2")),
        ("class-negative", lambda: CLASSES.loss(X, [0, 1, 2, -1, 0]), ("y", "-1", "[3]", "0 to 2")),
        ("class-float", lambda: CLASSES.loss(X, np.zeros(5)), ("y", "integers", "float64", "astype(int)")),
        ("class-bool", lambda: CLASSES.loss(X, [True, False] * 2 + [True]), ("y", "bool")),
        ("class-names", lambda: CLASSES.loss(X, list("abcab")), ("y", "<U1")),
        ("classes-too-few", lambda: CLASSES.loss(X, [0, 1, 2]), ("y", "5 class indices", "3")),
        ("classes-as-column", lambda: CLASSES.loss(X, np.zeros((5, 1), int)), ("y", "(5, 1)", "class indices")),
        ("class-of-one", lambda: gf.Network(gf.Dense(2, 1), gf.CrossEntropy()).loss(X, [0, 0, 1, 0, 0]), ("y", "[2]")),
        ("rows-too-few", lambda: CLASSES.loss(X, np.eye(3)), ("y", "(5, 3)", "(3, 3)")),
        ("rows-not-adding-up", lambda: CLASSES.loss(X, replaced(ONE_HOT, (3, 1), 0.9)), ("y", "0.9", "[3]", "add up")),
        ("rows-of-logits", lambda: ROWS.loss(X, replaced(ONE_HOT, (1, 1), -1.0)), ("y", "-1", "[1, 1]")),
        ("rows-nan", lambda: ROWS.loss(X, replaced(ONE_HOT, (2, 2), np.nan)), ("y", "nan", "[2, 2]")),
        ("binary-above-1", lambda: BINARY.loss(X, replaced(ZEROS, (2, 0), 1.5)), ("y", "1.5", "[2, 0]", "0 and 1")),
        ("binary-below-0", lambda: BINARY.loss(X, replaced(ZEROS, (1, 0), -1)), ("y", "-1", "[1, 0]", "0 and 1")),
        ("binary-vector", lambda: BINARY.loss(X, [0, 1, 1, -1, 0]), ("y", "-1", "index [3];")),
        ("predict-X-nan", lambda: NET.predict(P, X_NAN), ("X", "nan", "[2, 1]")),
        ("predict-X-shape", lambda: NET.predict(P, X[0]), ("X", "(samples, 2)", "(2,)")),
    ]
)  # fmt: skip
def test_data(call, named):
    assert_refused(call, named)


# ---- networks


@check_table(
    [
        ("no-layers", lambda: gf.Network([], gf.SquaredError()), ("layers", "at least one")),
        ("not-chained", lambda: gf.Network([gf.Dense(2, 3), gf.Dense(4, 1)], gf.SquaredError()), ("layer 2", "4", "3")),
        ("no-layer", lambda: gf.Network([gf.Dense(2, 3), "relu"], gf.Huber()), ("layer 2", "'relu'", "gf.Dense")),
        ("class-for-layer", lambda: gf.Network([gf.Dense], gf.SquaredError()), ("layer 1", "gf.Dense")),
        ("none-for-layer", lambda: gf.Network(None, gf.SquaredError()), ("layer", "None")),
        ("same-names", lambda: gf.Network([gf.Dense(2, 2, name="a")] * 2, gf.SquaredError()), ("layer 2", "a.W")),
        ("cost-by-name", lambda: gf.Network(gf.Dense(2, 1), "SquaredEror"), ("cost", "did you mean 'SquaredError()'")),
        ("cost-class", lambda: gf.Network(gf.Dense(2, 1), gf.Huber), ("cost", "did you mean 'Huber()'")),
        ("cost-none", lambda: gf.Network(gf.Dense(2, 1), None), ("cost", "gf.SquaredError()", "None")),
        ("penalty-number", lambda: gf.Network(gf.Dense(2, 1), gf.Huber(), penalty=0.1), ("penalty", "gf.L2", "0.1")),
        ("penalty-class", lambda: gf.Network(gf.Dense(2, 1), gf.Huber(), penalty=gf.L2), ("penalty", "gf.L2")),
        ("no-width", lambda: gf.Dense(2, 0), ("Dense: outputs", "0")),
        ("negative-width", lambda: gf.Dense(-2, 3), ("Dense: inputs", "-2")),
        ("unknown-activation", lambda: gf.Dense(2, 3, "rellu"), ("Dense: activation", "did you mean 'relu'", "elu")),
        ("unknown-reduction", lambda: gf.Huber(reduction="means"), ("Huber: reduction", "did you mean 'mean'", "sum")),
    ]
)  # fmt: skip
def test_network(call, named):
    assert_refused(call, named)


# ---- options


def both(options):
    """Of numerical_gradient and of gradcheck, for a network and for a function."""
    for loss, gradient, params in ((LOSS, GRADIENT, P), (lambda x: x**2, 2.0, 1.0)):
        yield partial(gf.numerical_gradient, loss, params, **options)
        yield partial(gf.gradcheck, loss, gradient, params, **options)


BAD_NUMBERS = [0, 0.0, -1e-4, np.nan, np.inf, -np.inf, "1e-4", "small", [1e-4], np.ones(2), 1j, True]


@pytest.mark.parametrize("step", BAD_NUMBERS, ids=repr)
def test_step(step):
    for call in both({"step": step}):
        assert_refused(call, ("step", "a positive number", repr(step)))


@pytest.mark.parametrize("n_threads", [0, -1, 2.0, "2", True, [1]], ids=repr)
def test_n_threads(n_threads):
    for call in both({"n_threads": n_threads}):
        assert_refused(call, ("n_threads", "a positive integer", repr(n_threads)))


@pytest.mark.parametrize(
    ("method", "nearest"),
    [("unit", "units"), ("Direct", "direct"), ("incremetal", "incremental"), ("Auto", "auto"), ("finite", None)],
)
def test_unknown_method(method, nearest):
    for call in both({"method": method}):
        suggestion = [f"did you mean '{nearest}'"] if nearest else []
        assert_refused(call, ("method", repr(method), "auto, units, incremental, chain, direct", *suggestion))


@pytest.mark.parametrize("method", [None, 3, ["units"]], ids=repr)
def test_method_is_a_name(method):
    for call in both({"method": method}):
        assert_refused(call, ("method", repr(method), "auto, units, incremental, chain, direct"))


@pytest.mark.parametrize("method", ["units"])
def test_methods_that_need_a_network(method):
    for call in list(both({"method": method}))[2:]:
        assert_refused(call, ("method", method, "gf.Network", "'direct'"))


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf, "0.1", "x", [0.1], 1j], ids=repr)
@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_tolerances(name, value):
    assert_refused(lambda: gf.gradcheck(LOSS, GRADIENT, P, **{name: value}), (name, "at least 0", repr(value)))


# ---- losses


@pytest.mark.parametrize("loss", [None, 3.0, "loss", NET, X], ids=["none", "number", "text", "network", "array"])
def test_loss_that_cannot_be_called(loss):
    assert_refused(lambda: gf.numerical_gradient(loss, P), ("loss", "a function of the parameters", repr(loss)))
    assert_refused(lambda: gf.gradcheck(loss, GRADIENT, P), ("loss", "a function of the parameters", repr(loss)))


@pytest.mark.parametrize(
    "value",
    [None, "0.5", 1j, np.complex128(1j), np.ones(2), [], [1.0, 2.0, 3.0], {"loss": 1.0}, object],
    ids=["none", "text", "complex", "numpy-complex", "array", "nothing", "list", "dict", "class"],
)
def test_loss_that_returns_no_number(value):
    for call in (
        lambda: gf.numerical_gradient(lambda p: value, {"a": np.ones(2)}),
        lambda: gf.gradcheck(lambda p: value, {"a": np.ones(2)}, {"a": np.ones(2)}),
    ):
        assert_refused(call, ("loss", "one real number", repr(value)))


def test_masked_arrays_are_refused():
    x = np.array([1.0, 2.0, 3.0])
    masked, loss = np.ma.array(x, mask=x > 1.5), lambda x: np.sin(x).sum()
    for call in (lambda: gf.gradcheck(loss, np.cos, masked), lambda: gf.gradcheck(loss, masked, x)):
        assert_refused(call, ("2 of its entries are masked", "fixed="))
    assert gf.gradcheck(loss, np.cos, np.ma.array(x)).ok
