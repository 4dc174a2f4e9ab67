"""What public hand-written code does besides computing: where it has its parameters, and what it keeps of a call."""

import ast
import linecache
import pickle
from collections import OrderedDict, deque
from functools import partial
from types import ModuleType

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.inputs.state import Frozen, State

X = np.random.default_rng(0).standard_normal((4, 3))
PARAMS = {"W": np.random.default_rng(1).standard_normal((3, 2)), "b": np.array([0.3, -0.2])}


def require_traced(loss, params=PARAMS, notes=0):
    """Returns the gradient that was chained, after a check of it against plain differences."""
    gradient = gf.numerical_gradient(loss, params)
    report = gf.gradcheck(loss, gradient, params)
    assert report.ok
    assert report.method == "chain"
    assert report.certificate.holds
    assert len(report.notes) == notes
    plain = gf.numerical_gradient(loss, params, trace=False)
    for name in params:
        np.testing.assert_allclose(gradient[name], plain[name], rtol=1e-6, atol=1e-8)
    return gradient


class Layer:
    def __init__(self):
        self.W, self.b = np.zeros((3, 2)), np.zeros(2)
        self.running = np.zeros(2)

    def forward(self, x):
        z = x @ self.W + self.b
        self.running = 0.9 * self.running + 0.1 * z.mean(axis=0)
        self.out = np.tanh(z)
        return self.out


class Slotted:
    __slots__ = ("W", "b", "out")

    def forward(self, x):
        self.out = np.tanh(x @ self.W + self.b)
        return self.out


class Net:
    """The parameters are in a dictionary and in the layers, the same arrays in both."""

    def __init__(self, layers):
        self.layers = layers
        self.layers["affine"] = Layer()
        self.params = {"W": self.layers["affine"].W, "b": self.layers["affine"].b}

    def loss(self, x):
        out = self.layers["affine"].forward(x)
        return np.sum(out**2) + 0.1 * np.sum(self.params["W"] ** 2)


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_parameters_are_written_into_arrays_that_several_objects_keep(kind):
    net = Net(kind())
    kept = dict(net.params)

    def loss(p):
        for name, value in p.items():
            net.params[name][...] = value
        return net.loss(X)

    require_traced(loss)
    assert all(net.params[name] is array for name, array in kept.items())
    assert net.layers["affine"].W is kept["W"]
    assert type(net.layers["affine"].running) is np.ndarray


def test_parameters_are_written_into_views_of_one_vector():
    vector = np.zeros(8)
    layer = Layer()
    layer.W, layer.b = vector[:6].reshape(3, 2), vector[6:]

    def loss(p):
        vector[:6] = p["W"].ravel()
        vector[6:] = p["b"]
        return np.sum(layer.forward(X) ** 3)

    require_traced(loss)


def test_parameters_are_added_to_arrays_that_others_keep():
    layer = Layer()
    arrays = [layer.W, layer.b]

    def loss(p):
        for array, value in zip(arrays, p.values(), strict=True):
            array[:] = 0.0
            array[:] += value
        return np.sum(layer.forward(X) ** 2) + np.sum(-layer.W)

    require_traced(loss)


def _kept_by(how, layer):
    def loss(p, *, layer=layer):
        layer.W, layer.b = p["W"], p["b"]
        if how == "untraceable":
            pickle.dumps(layer.forward(X))
        return np.sum(layer.forward(X) ** 2)

    return loss


def _of_partial(layer, p):
    layer.W, layer.b = p["W"], p["b"]
    return np.sum(layer.forward(X) ** 2)


@pytest.mark.filterwarnings("ignore:.*could not be traced:UserWarning")
@pytest.mark.parametrize("make", [Layer, Slotted])
@pytest.mark.parametrize("how", ["default", "untraceable", "partial", "deque", "set"])
def test_nothing_traced_stays_in_what_a_function_keeps(how, make):
    layer = make()
    if how in ("deque", "set"):
        several = deque([layer]) if how == "deque" else {layer}
        loss = lambda p: _of_partial(next(iter(several)), p)
    else:
        loss = partial(_of_partial, layer) if how == "partial" else _kept_by(how, layer)
    gf.gradcheck(loss, gf.numerical_gradient(loss, PARAMS), PARAMS)
    kept = [getattr(layer, name) for name in ("W", "b", "out") if hasattr(layer, name)]
    assert all(type(value) is np.ndarray for value in kept)
    assert np.isfinite(loss(PARAMS))


SCRIPT = """\
import numpy as np

W, b, last = np.zeros((3, 2)), np.zeros(2), None


def forward(x):
    global last, seen
    last = seen = np.tanh(x.dot(W) + b)
    return last


def loss(x):
    return np.sum(np.square(forward(x)))
"""


def _script(name, one_by_one):
    """A module of a script of which only the definitions are run, all together or each by itself."""
    filename = f"/tmp/{name}.py"
    linecache.cache[filename] = (len(SCRIPT), None, SCRIPT.splitlines(True), filename)
    module = ModuleType(name)
    module.__file__ = filename
    tree = ast.parse(SCRIPT)
    for part in [ast.Module([node], []) for node in tree.body] if one_by_one else [tree]:
        exec(compile(part, filename, "exec"), vars(module))
    return module


@pytest.mark.parametrize("one_by_one", [False, True])
def test_parameters_are_variables_of_a_module(one_by_one):
    """Bytecode differs where a definition is compiled without the imports of its file."""
    module = _script(f"habits_script_{one_by_one}", one_by_one)

    def loss(p):
        module.W, module.b = p["W"], p["b"]
        return module.loss(X)

    require_traced(loss)
    assert type(module.W) is type(module.last) is type(module.seen) is np.ndarray


class Recurrent:
    """Fills a buffer of float32 over time, as public code often does."""

    def forward(self, p):
        self.states = np.zeros((4, 2, 2), dtype="f")
        h = np.zeros((2, 2), dtype=np.float32)
        for t in range(4):
            h = np.tanh(X[t : t + 1, :2] @ p["W"][:2] + h @ p["U"] + p["b"])
            self.states[t] = h
        return 0.5 * np.sum(self.states.astype(np.float64) ** 2)

    def backward(self, p):
        dW, dU, db, dh = np.zeros_like(p["W"]), np.zeros_like(p["U"]), np.zeros_like(p["b"]), np.zeros((2, 2))
        for t in range(3, -1, -1):
            dz = (dh + self.states[t]) * (1.0 - self.states[t] ** 2)
            dW[:2] += X[t : t + 1, :2].T @ dz.sum(axis=0, keepdims=True)
            db += dz.sum(axis=0)
            dU += self.states[t - 1].T @ dz if t else 0.0
            dh = dz @ p["U"].T
        return {"W": dW, "U": dU, "b": db}


def test_a_function_that_rounds_to_float32_is_traced():
    params = {**PARAMS, "U": np.random.default_rng(2).standard_normal((2, 2))}
    net = Recurrent()

    def backward(p):
        net.forward(p)
        return net.backward(p)

    report = gf.gradcheck(net.forward, backward, params)
    assert report.ok
    assert report.method == "chain"
    assert report.certificate.holds
    assert any("float32" in note for note in report.notes)
    wrong = backward(params)
    wrong["U"] = wrong["U"].T
    report = gf.gradcheck(net.forward, wrong, params)
    assert report.verdict == "FAIL"
    assert [array.name for array in report.arrays if array.wrong] == ["U"]


def test_a_number_in_an_array_is_an_array():
    def variable(data):
        if not isinstance(data, np.ndarray):
            raise TypeError(type(data))
        return data

    def loss(p):
        total = variable(np.array(0.0))
        for row in np.tanh(X @ p["W"] + p["b"]):
            total = variable(np.array(total + np.sum(row**2)))
        return variable(np.asarray(total))

    require_traced(loss)


def test_a_function_is_applied_entry_by_entry_in_place():
    def loss(p):
        z = np.array(X @ p["W"] + p["b"])
        for entry in np.nditer(z, op_flags=["readwrite"]):
            entry[...] = max(0.1 * entry, entry) if entry < 1.0 else np.tanh(entry)
        return np.sum(z**2)

    require_traced(loss)


def test_the_constant_of_padding_is_in_a_tuple():
    require_traced(
        lambda p: np.sum(np.pad(p["W"], ((1, 2), (0, 1)), mode="constant", constant_values=(0,)) ** 2) + np.sum(p["b"])
    )


@pytest.mark.filterwarnings("ignore:.*draws random numbers:UserWarning")
def test_a_generator_of_its_own_gives_the_same_numbers_in_each_call():
    random = np.random.RandomState(0)

    def loss(p):
        mask = random.binomial(1, 0.7, size=(4, 2))
        return np.sum(mask * np.tanh(X @ p["W"] + p["b"]))

    report = gf.gradcheck(loss, gf.numerical_gradient(loss, PARAMS), PARAMS)
    assert report.method == "chain"
    assert report.certificate.holds


def _of_random_numbers(p):
    mask = np.random.rand(4, 2)  # noqa: NPY002
    return float(np.sum(mask * np.tanh(X @ p["W"] + p["b"])))


def test_frozen_random_numbers_are_the_same_in_a_copy():
    here = Frozen(_of_random_numbers, State(_of_random_numbers))
    there = pickle.loads(pickle.dumps(here))
    first = here(PARAMS)
    np.random.rand(3)  # noqa: NPY002
    assert here(PARAMS) == there(PARAMS) == first
