"""A gradient whose entries stand in another order is recognised: axes, blocks such as gates, or all entries."""

import numpy as np
import pytest

import gradcheck_fast as gf


def causes(wrong_of, *, seed=0, **shapes):
    """Returns what is diagnosed if the gradient of a smooth function of some arrays is changed."""
    rng = np.random.default_rng(seed)
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    scales = {name: rng.standard_normal(shape) for name, shape in shapes.items()}

    def loss(p):
        return sum(np.sum(np.sin(p[name] * scales[name])) for name in shapes)

    right = {name: np.cos(params[name] * scales[name]) * scales[name] for name in shapes}
    assert gf.gradcheck(loss, right, params).diagnoses == ()
    report = gf.gradcheck(loss, {name: wrong_of(g) for name, g in right.items()}, params)
    assert not report.ok
    return [diagnosis.cause for diagnosis in report.diagnoses]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("flipped along its axes 2 and 3", lambda g: g[:, :, ::-1, ::-1]),
        ("flipped along its axis 3", lambda g: g[..., ::-1]),
        ("its axes are in the order (1, 0, 2, 3)", lambda g: g.transpose(1, 0, 2, 3)),
        ("its axes are in the order (0, 1, 3, 2)", lambda g: g.swapaxes(2, 3)),
    ],
)
def test_the_axes_of_a_kernel(words, change, seed):
    (found,) = causes(change, seed=seed, kernel=(4, 4, 3, 3))
    assert words in found


def test_a_kernel_that_is_reshaped_to_the_wrong_axes():
    (found,) = causes(lambda g: g.transpose(1, 0, 3, 2).reshape(g.shape), kernel=(2, 3, 4, 5))
    assert found == "the gradient of kernel is transposed to the axes (1, 0, 3, 2), then reshaped to (2, 3, 4, 5)"


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 1, 3, 2), (3, 2, 1, 0)])
def test_four_gates_side_by_side_in_another_order(order):
    def exchanged(g):
        return np.concatenate([np.split(g, 4, axis=-1)[k] for k in order], axis=-1)

    (found,) = causes(exchanged, w=(3, 20), u=(5, 20), b=(20,))
    assert found == f"the 4 blocks of w, u, b along the last axis, such as gates, are in the order {order}"


def test_three_gates_below_each_other_in_another_order():
    (found,) = causes(lambda g: np.concatenate([g[4:8], g[:4], g[8:]]), w=(12, 5))
    assert found == "the 3 blocks of w along the first axis, such as gates, are in the order (1, 0, 2)"


def test_sorted_entries():
    (found,) = causes(lambda g: np.sort(g, axis=None).reshape(g.shape), w=(3, 4))
    assert found == "the entries of w are sorted, ascending"


@pytest.mark.parametrize("seed", range(10))
def test_shuffled_entries_are_in_no_known_order(seed):
    rng = np.random.default_rng(seed)
    assert causes(lambda g: rng.permutation(g.ravel()).reshape(g.shape), w=(4, 3, 4), v=(12, 4)) == []
