"""A gradient function recorded together with its loss."""

from __future__ import annotations

import numpy as np
import pytest
from plant_lines import EXAMPLES, planted_module

from gradcheck_fast.frontends.numpy_trace.traced_gradient import recorded_gradient
from gradcheck_fast.inputs.trees import pack

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
PARAMS = {"W": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}


class Model:
    def __init__(self):
        self.calls, self.cache = 0, None

    def loss(self, p):
        self.calls += 1
        self.z = X @ p["W"] + p["b"]
        self.cache = np.tanh(self.z)
        return np.sum((self.cache - Y) ** 2)

    def gradient(self, p):
        dz = 2 * (self.cache - Y) * (1 - self.cache**2)
        return {"W": X.T @ dz, "b": dz.sum(axis=0)}


def recorded(loss, gradient, params):
    packed = pack(params)
    loss(params)
    given = pack(gradient(params))
    analytic = dict(zip(packed.shapes, (array for _, array in given.arrays(given.flat)), strict=True))
    return recorded_gradient(loss, gradient, packed, analytic), analytic


def test_a_gradient_that_uses_caches_is_recorded_with_its_lines():
    model = Model()
    found, analytic = recorded(model.loss, model.gradient, PARAMS)
    assert 0 < found.begin < len(found.steps)
    for name, out in found.outputs.items():
        assert out.of(found.values[out.step]) == pytest.approx(analytic[name].ravel())
    first = Model.gradient.__code__.co_firstlineno
    lines = {step.source.line for step in found.steps[found.begin :] if step.source.file == __file__}
    assert lines == {first + 1, first + 2}


def test_what_objects_keep_is_put_back():
    model = Model()
    model.loss(PARAMS)
    calls, cache = model.calls, model.cache
    packed = pack(PARAMS)
    assert recorded_gradient(model.loss, model.gradient, packed, model.gradient(PARAMS)) is not None
    assert model.calls == calls
    assert model.cache is cache
    assert type(model.cache) is np.ndarray


def test_a_flat_gradient_is_taken_apart():
    model = Model()
    flat = lambda p: np.concatenate([part.ravel() for part in model.gradient(p).values()])
    packed = pack(PARAMS)
    model.loss(PARAMS)
    found = recorded_gradient(model.loss, flat, packed, model.gradient(PARAMS))
    assert list(found.outputs) == ["W", "b"]
    assert found.outputs["b"].entries.tolist() == [6, 7]
    assert found.outputs["b"].of(found.values[found.outputs["b"].step]) == pytest.approx(flat(PARAMS)[6:])


def test_names_of_another_pattern_are_found_by_their_values():
    model = Model()
    found, _ = recorded(model.loss, lambda p: {f"d{k}": v for k, v in model.gradient(p).items()}, PARAMS)
    assert list(found.outputs) == ["W", "b"]


def test_the_line_that_takes_a_part_is_that_of_the_step(tmp_path):
    source = """
import numpy as np

X = np.arange(6.0).reshape(3, 2)


def loss(p):
    return np.sum(np.sin(X @ p))


def gradient(p):
    both = X.T * np.cos(X @ p)
    part = both[:, 1:]
    other = both[:, :1]
    return part.sum(axis=1) + other.sum(axis=1)
"""
    module, _ = planted_module(source, tmp_path)
    found, _ = recorded(module.loss, module.gradient, np.array([0.3, 0.4]))
    views = [step for step in found.steps[found.begin :] if step.name == "strided"]
    assert {step.source.line for step in views} >= {13, 14}


def test_another_gradient_than_the_given_one_is_not_recorded():
    model = Model()
    model.loss(PARAMS)
    given = {name: 1.001 * array for name, array in model.gradient(PARAMS).items()}
    assert recorded_gradient(model.loss, model.gradient, pack(PARAMS), given) is None


def fails(p):
    raise RuntimeError("not today")


def integers(p):
    return {"W": np.array([[int(x) for x in row] for row in p["W"]]) * p["W"], "b": p["b"]}


@pytest.mark.parametrize("gradient", [fails, integers], ids=lambda function: function.__name__)
def test_whatever_goes_wrong_nothing_is_raised(gradient):
    given = {"W": PARAMS["W"] * PARAMS["W"].astype(int), "b": PARAMS["b"]}
    assert recorded_gradient(Model().loss, gradient, pack(PARAMS), given) is None


@pytest.mark.parametrize("name", ["lstm_buffers", "cnn", "batchnorm", "transformer_block"])
def test_examples_are_recorded(tmp_path, name):
    module, _ = planted_module((EXAMPLES / f"numpy_{name}.py").read_text(), tmp_path)
    params = module.init_params()
    found, _ = recorded(module.loss, module.backprop, params)
    assert set(found.outputs) == set(params)
