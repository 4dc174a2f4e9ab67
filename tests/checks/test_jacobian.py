"""check_jacobian: every entry of dense Jacobians, by output and input."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

TRACED = pytest.mark.parametrize("trace", [True, False])
RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))


def layer(x, w):
    return {"y": np.tanh(x @ w), "penalty": np.sum(w**2)}


def layer_jacobian(x, w):
    d = 1.0 - np.tanh(x @ w) ** 2
    by_x = d[:, :, None, None] * w.T[None, :, None, :] * np.eye(2)[:, None, :, None]
    by_w = d[:, :, None, None] * x[:, None, :, None] * np.eye(4)[None, :, None, :]
    return {"y": (by_x, by_w), "penalty": (np.zeros((2, 3)), 2.0 * w)}


def as_matrix(blocks):
    rows = [np.concatenate([b.reshape(n, -1) for b in blocks[name]], axis=1) for name, n in (("y", 8), ("penalty", 1))]
    return np.concatenate(rows)


FORMS = {
    "function": layer_jacobian,
    "tree of trees": layer_jacobian(X, W),
    "blocks as matrices": {
        "y": tuple(block.reshape(8, -1) for block in layer_jacobian(X, W)["y"]),
        "penalty": layer_jacobian(X, W)["penalty"],
    },
    "one matrix": as_matrix(layer_jacobian(X, W)),
    "lists in order": [list(blocks) for blocks in layer_jacobian(X, W).values()],
}


@TRACED
@pytest.mark.parametrize("form", FORMS)
def test_right_jacobians_pass_in_all_forms(form, trace):
    report = gf.check_jacobian(layer, FORMS[form], (X, W), trace=trace)
    assert report.ok
    assert report.relative_error < (1e-14 if trace else 1e-9)
    assert {array.name: array.shape for array in report.arrays} == {
        "output.y by inputs[0]": (2, 4, 2, 3), "output.y by inputs[1]": (2, 4, 3, 4),
        "output.penalty by inputs[0]": (2, 3), "output.penalty by inputs[1]": (3, 4),
    }  # fmt: skip


@TRACED
def test_a_wrong_entry_is_named_by_output_and_input(trace):
    wrong = layer_jacobian(X, W)
    wrong["y"][1][1, 2, 0, 2] *= 1.0 + 1e-5
    report = gf.check_jacobian(layer, wrong, (X, W), trace=trace)
    assert report.reason == "1 of 162 entries are wrong, in output.y by inputs[1]"
    assert report.worst()[0][:2] == ("output.y by inputs[1]", (1, 2, 0, 2))


def test_what_would_have_been_seen_is_said_for_each_output_and_input():
    exactly = gf.check_jacobian(layer, layer_jacobian, (X, W)).seen_from
    plainly = gf.check_jacobian(layer, layer_jacobian, (X, W), trace=False).seen_from
    assert np.isnan(exactly["output.penalty", "inputs[0]"])
    assert exactly["output.y", "inputs[1]"] <= 1e-12
    assert plainly["output.y", "inputs[1]"] <= 1e-7


def test_few_outputs_of_many_inputs_are_chained():
    f = lambda x: np.array([np.sum(x**2), np.sum(np.sin(x)) * x[0]])

    def jacobian(x):
        rows = np.stack([2.0 * x, np.cos(x) * x[0]])
        rows[1, 0] += np.sum(np.sin(x))
        return rows

    x = np.random.default_rng(1).normal(size=100)
    report = gf.check_jacobian(f, jacobian, x)
    assert report.ok
    assert report.method == "chain"
    wrong = jacobian(x)
    wrong[1, 70] *= 1.0 + 1e-8
    assert gf.check_jacobian(f, wrong, x).worst()[0].index == (1, 70)
    assert gf.check_jacobian(f, wrong, x).wrong == 1


def test_inputs_that_are_no_floating_point_numbers_have_no_block():
    f = lambda table, rows: table[rows] ** 2
    table, rows = np.array([1.0, -2.0, 0.5]), np.array([2, 0])
    jacobian = np.zeros((2, 3))
    jacobian[[0, 1], rows] = 2.0 * table[rows]
    assert gf.check_jacobian(f, (jacobian, None), (table, rows)).ok
    assert gf.check_jacobian(f, lambda table, rows: (jacobian,), (table, rows)).ok


def test_scalars():
    assert gf.check_jacobian(lambda x: x**3, lambda x: 3.0 * x**2, 2.0).ok
    assert not gf.check_jacobian(lambda x: x**3, 11.0, 2.0).ok


def test_float32_jacobians_are_as_accurate_as_they_can_be():
    single = [array.astype(np.float32) for array in (X, W)]
    found = {
        name: tuple(block.astype(np.float32) for block in blocks) for name, blocks in layer_jacobian(*single).items()
    }
    assert gf.check_jacobian(layer, found, tuple(single)).ok
    found["y"][0][0, 0, 0, 0] *= 1.01
    assert gf.check_jacobian(layer, found, tuple(single)).wrong == 1


@TRACED
def test_at_a_kink_every_slope_there_is_right(trace):
    f, x = lambda x: np.maximum(x, 0.0), np.array([0.0, 1.0, -2.0])
    for slope in (0.0, 0.5, 1.0):
        assert gf.check_jacobian(f, np.diag([slope, 1.0, 0.0]), x, trace=trace).ok
    assert not gf.check_jacobian(f, np.diag([1.5, 1.0, 0.0]), x, trace=trace).ok


def test_nothing_that_is_given_is_changed():
    x, given = X.copy(), layer_jacobian(X, W)
    before = given["y"][0].copy()

    def greedy(x, w):
        found = layer(x, w)
        x[:] = 0.0
        return found

    report = gf.check_jacobian(greedy, given, (x, W), trace=False)
    assert report.ok
    assert any("writes into its argument" in note for note in report.notes)
    assert np.array_equal(x, X)
    assert np.array_equal(given["y"][0], before)


def test_the_jacobian_may_use_what_the_function_has_kept():
    kept = {}

    def f(x):
        kept["y"] = np.tanh(x)
        return kept["y"]

    assert gf.check_jacobian(f, lambda x: np.diag(1.0 - kept["y"] ** 2), np.array([0.3, -1.0])).ok


# ---- what is wrong, in words


def causes(report):
    return [diagnosis.cause for diagnosis in report.diagnoses]


@TRACED
def test_the_transpose_is_diagnosed(trace):
    a = np.random.default_rng(2).normal(size=(4, 4))
    report = gf.check_jacobian(
        lambda x: np.sin(a @ x), lambda x: (np.cos(a @ x)[:, None] * a).T, np.ones(4), trace=trace
    )
    assert causes(report) == [
        "it is the transpose: inputs by outputs instead of outputs by inputs, in the whole Jacobian"
    ]


def test_the_transpose_of_one_block_is_diagnosed():
    a = np.random.default_rng(2).normal(size=(2, 4, 4))
    f = lambda x, y: a[0] @ x + a[1] @ y
    report = gf.check_jacobian(f, (a[0], a[1].T), (np.ones(4), np.ones(4)))
    assert causes(report) == [
        "output by inputs[1]: it is the transpose, inputs by outputs instead of outputs by inputs"
    ]


def test_factors_and_signs_are_named():
    found = layer_jacobian(X, W)
    found["y"] = (found["y"][0], -found["y"][1])
    found["penalty"] = (found["penalty"][0], found["penalty"][1] / 2.0)
    assert causes(gf.check_jacobian(layer, found, (X, W))) == [
        "output.y by inputs[1] is of the wrong sign", "output.penalty by inputs[1] is halved"
    ]  # fmt: skip


# ---- arguments


@pytest.mark.parametrize(
    ("jacobian", "message"),
    [
        (np.zeros((12, 9)), r"J: expected the shape \(9, 18\)"),
        (np.zeros((18, 9)), "it is transposed"),
        ({"y": (np.zeros((8, 6)), np.zeros((8, 12)))}, "expected 4 blocks"),
        ({"y": (np.zeros((8, 6)), np.zeros((12, 8))), "penalty": (X, W)}, r"J: output.y by inputs\[1\].*transposed"),
        ({"z": (np.zeros((8, 6)), np.zeros((8, 12))), "penalty": (X, W)}, r"expected blocks at y\[0\]"),
    ],
)
def test_what_does_not_fit_is_refused(jacobian, message):
    with pytest.raises(ValueError, match=message):
        gf.check_jacobian(layer, jacobian, (X, W))


def test_empty_inputs_and_functions_with_a_cache_are_refused():
    with pytest.raises(ValueError, match="nothing to compare"):
        gf.check_jacobian(lambda x: 2.0 * x, np.zeros((0, 0)), np.zeros(0))
    with pytest.raises(ValueError, match=r"returns \(out, cache\)"):
        gf.check_jacobian(lambda x: (2.0 * x, {"x": x, "kind": "relu"}), np.eye(2), np.ones(2))


def test_a_matrix_as_lists_of_numbers():
    assert gf.check_jacobian(lambda x: 2.0 * x, [[2, 0], [0, 2]], np.ones(2)).ok


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="check_jacobian: it has no option 'sample'"):
        gf.check_jacobian(layer, layer_jacobian, (X, W), sample=3)
