"""Slopes at kinks: whose convention a right gradient has, and that the table says what frameworks do."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.kinks.conventions import CONVENTIONS, VERSIONS

TOOLS = Path(__file__).parents[3] / "tools"
X = np.array([[1.0, 2.0], [0.0, 0.0], [-1.0, 3.0]])
PARAMS = {"W": np.array([[2.0, -1.0], [-1.0, 1.0]]), "v": np.array([[1.0], [2.0]])}


def note(report):
    assert report.ok
    (found,) = [text for text in report.notes if "kink" in text]
    return found


def rectified(slope, rectify=lambda z: np.maximum(z, 0.0)):
    """A loss with three values of z at 0, and its gradient, which takes that slope there."""

    def loss(p):
        out = rectify(X @ p["W"]) @ p["v"]
        return float(np.sum(out**2) + np.sum(out))

    def gradient(p):
        z = X @ p["W"]
        h = rectify(z)
        d = 2.0 * (h @ p["v"]) + 1.0
        slopes = (z > 0.0) + slope * (z == 0.0)
        return {"W": X.T @ (d @ p["v"].T * slopes), "v": h.T @ d}

    return gf.gradcheck(loss, gradient, PARAMS)


@pytest.mark.parametrize(
    ("slope", "said"),
    [
        (0.0, "the slope 0, as in relu of PyTorch, JAX and TensorFlow (the slope 0.5: maximum(x, 0) of PyTorch"),
        (0.5, "the slope 0.5, as in maximum(x, 0) of PyTorch, JAX and autograd (the slope 0: relu of"),
        (1.0, "the slope 1, as in maximum(x, 0) of TensorFlow (the slope 0: relu of PyTorch, JAX and TensorFlow"),
    ],
)
def test_the_slope_of_a_rectifier_is_named_with_those_who_take_it(slope, said):
    found = note(rectified(slope))
    assert said in found
    assert found.startswith("at 3 kinks of relu (") and f"{Path(__file__).name} line" in found


def test_of_a_slope_that_nobody_has_nothing_is_said():
    report = rectified(0.3)
    assert report.ok and not any("kink" in text for text in report.notes)


def test_a_wrong_gradient_passes_no_kink():
    assert not rectified(1.5).ok


def test_clip_at_its_border():
    found = note(rectified(0.0, rectify=lambda z: np.maximum(z + 1.0, 1.0)))
    assert "kinks of clip" in found and "the slope 0, as in clip of autograd (the slope 1: clip of PyTorch and" in found


def tie(shares, reduce):
    """A loss with a tie of three entries of p, and the gradient that shares what goes back so."""
    gradient = np.array([*(np.exp(2.0) * np.array(shares)), 6.0])
    return gf.gradcheck(lambda p: float(np.exp(reduce(p[:3])) + p[3] ** 2), gradient, np.array([2.0, 2.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((1.0, 0.0, 0.0), "all to the first, as in max along an axis of PyTorch and max pooling of PyTorch, JAX and"),
        ((1 / 3, 1 / 3, 1 / 3), "equal shares, as in max of an array of PyTorch, JAX, TensorFlow and autograd and max"),
        ((0.0, 0.0, 1.0), "all to the last, as in none of the frameworks that were measured (equal shares: max of"),
        ((1.0, 1.0, 1.0), "all to each, as in none of the frameworks that were measured"),
    ],
)
def test_a_tie_of_the_largest_entries(shares, said):
    assert said in note(tie(shares, np.max))


def test_a_tie_of_the_smallest_entries():
    found = note(tie((1.0, 0.0, 0.0), np.min))
    assert "at 1 kink of min (" in found and "all to the first, as in min along an axis of PyTorch (equal" in found


def test_ties_that_last_are_no_kinks():
    """The parts of an image where it is constant tie in each window, whatever the weights are."""
    image = np.ones((4, 4)) + np.pad(np.ones((2, 2)), (0, 2))
    params = np.array([2.0, 3.0])

    def loss(p):
        windows = (p[0] * image + p[1]).reshape(2, 2, 2, 2)
        return float(np.sum(windows.max(axis=(1, 3)) ** 2))

    right = np.array([2 * 5 * 3 + 4 * 7, 2 * 5 * 3 + 2 * 7])
    report = gf.gradcheck(loss, right, params)
    assert report.ok and report.method == "chain" and report.notes == ()
    assert report.worst(1)[0].numerical == pytest.approx(right[report.worst(1)[0].index], rel=1e-14)
    assert not gf.gradcheck(loss, right + np.array([0.0, 1e-6]), params).ok


def test_two_arguments_of_a_maximum_that_tie():
    params = {"a": np.array([1.0, 3.0]), "b": np.array([1.0, 2.0])}

    def loss(p):
        return float(np.sum(np.maximum(p["a"], p["b"]) ** 2))

    first = {"a": np.array([2.0, 6.0]), "b": np.zeros(2)}
    found = note(gf.gradcheck(loss, first, params))
    assert "at 1 kink of maximum (" in found
    assert "all to the first, as in maximum of TensorFlow (equal shares: maximum of PyTorch, JAX and autograd)" in found


def test_the_size_of_zero():
    found = note(gf.gradcheck(lambda p: float(np.sum(np.abs(p))), np.array([1.0, 1.0]), np.array([0.0, 2.0])))
    assert "the slope 1, as in abs of JAX (the slope 0: abs of PyTorch, TensorFlow and autograd)" in found


def test_two_kinds_of_kinks_are_told_apart():
    params = np.array([0.0, 0.0, 1.0])

    def loss(p):
        return float(3.0 * np.abs(p[0]) + 2.0 * np.maximum(p[1], 0.0) + p[2] ** 2)

    report = gf.gradcheck(loss, np.array([3.0, 0.0, 2.0]), params)
    said = [text for text in report.notes if "kink" in text]
    assert len(said) == 2
    assert "the slope 1, as in abs of JAX" in said[0] and "the slope 0, as in relu of PyTorch" in said[1]


def test_a_described_network_says_it_too():
    net = gf.Network([gf.Dense(2, 2, "leaky_relu"), gf.Dense(2, 1)], gf.SquaredError())
    params = net.init(0)
    params["b1"][:] = 0.0
    loss = net.loss(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([1.0, 2.0]))
    gradient = gf.numerical_gradient(loss, params)  # has the mean of both slopes
    assert "of leaky_relu" in note(gf.gradcheck(loss, gradient, params))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("described", [True, False])
def test_a_module_of_pytorch_says_it_too(dtype, described):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    between = [] if described else [torch.nn.Conv1d(1, 1, 1), torch.nn.Flatten()]
    module = torch.nn.Sequential(*between, torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    inputs = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    module, inputs = module.to(getattr(torch, dtype)), inputs.to(getattr(torch, dtype))
    if not described:
        inputs = inputs[:, None]
    report = gf.torch.gradcheck(module, torch.nn.CrossEntropyLoss(), inputs, torch.tensor([0, 1]))
    found = note(report)
    assert found.startswith("at 3 kinks of relu (") and "the slope 0, as in relu of PyTorch" in found


def test_what_makes_no_difference_is_not_said():
    def loss(p):  # the only kink is multiplied by 0, so that all choices are the same
        return float(0.0 * np.abs(p[0]) + p[1] ** 2)

    assert not any("kink" in text for text in gf.gradcheck(loss, np.array([0.0, 2.0]), np.array([0.0, 1.0])).notes)


@pytest.mark.parametrize(("framework", "module"), [("PyTorch", "torch"), ("JAX", "jax")])
def test_the_table_says_what_a_framework_does(framework, module):
    pytest.importorskip(module)
    measure = runpy.run_path(str(TOOLS / "measure_kinks.py"))
    _, found = measure["measured"](module)
    table = {function: row[framework] for rows in CONVENTIONS.values() for function, row in rows.items()}
    assert {name: measure["choice"](name, slopes) for name, slopes in found.items()} == table


def test_the_page_is_that_of_the_table(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kink_conventions.py"])
    tool = runpy.run_path(str(TOOLS / "kink_conventions.py"))
    assert tool["FILE"].read_text(encoding="utf-8") == tool["written"]()
    assert all(version in tool["written"]() for version in VERSIONS.values())
