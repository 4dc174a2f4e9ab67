import numpy as np
import pytest
from operator_peer import agree, numbers

from gradcheck_fast.frontends.operators import normalisation

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

X = numbers(3, 4, 2, 5)
CHANNELS = {"x": X, "w": numbers(4), "b": numbers(4, seed=1)}


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (3, 4, 5, 2), (2, 4, 3, 2, 2)])
def test_batch_normalisation_by_the_batch(shape):
    agree(
        lambda of: normalisation.batch_norm(of["x"], of["w"], of["b"], eps=1e-3),
        lambda of: F.batch_norm(of["x"], None, None, of["w"], of["b"], True, eps=1e-3),
        CHANNELS | {"x": numbers(*shape)},
    )


@pytest.mark.parametrize("affine", [False, True])
def test_batch_normalisation_by_given_statistics(affine):
    mean, var = numbers(4, seed=3), np.abs(numbers(4, seed=4))
    arrays = CHANNELS if affine else {"x": X}
    agree(
        lambda of: normalisation.batch_norm(of["x"], of.get("w"), of.get("b"), mean, var),
        lambda of: F.batch_norm(of["x"], torch.tensor(mean), torch.tensor(var), of.get("w"), of.get("b")),
        arrays,
    )


def test_instance_normalisation():
    agree(
        lambda of: normalisation.instance_norm(of["x"], of["w"], of["b"]),
        lambda of: F.instance_norm(of["x"], None, None, of["w"], of["b"]),
        CHANNELS,
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalisation(groups):
    agree(
        lambda of: normalisation.group_norm(of["x"], groups, of["w"], of["b"]),
        lambda of: F.group_norm(of["x"], groups, of["w"], of["b"]),
        CHANNELS,
    )


@pytest.mark.parametrize("axes", [(-1,), (-2, -1), (1, 2, 3)])
def test_layer_normalisation(axes):
    shape = tuple(X.shape[axis] for axis in axes)
    agree(
        lambda of: normalisation.layer_norm(of["x"], axes, of["w"], of["b"]),
        lambda of: F.layer_norm(of["x"], shape, of["w"], of["b"]),
        {"x": X, "w": numbers(*shape), "b": numbers(*shape, seed=1)},
    )


@pytest.mark.parametrize("axes", [(-1,), (-2, -1)])
def test_root_mean_square_normalisation(axes):
    shape = tuple(X.shape[axis] for axis in axes)
    agree(
        lambda of: normalisation.rms_norm(of["x"], axes, of["w"], 1e-5),
        lambda of: F.rms_norm(of["x"], shape, of["w"], 1e-5),
        {"x": X, "w": numbers(*shape)},
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_local_response_normalisation(size):
    agree(
        lambda of: normalisation.local_response_norm(of["x"], size, 0.3, 0.6, 1.5),
        lambda of: F.local_response_norm(of["x"], size, 0.3, 0.6, 1.5),
        {"x": X},
    )


def test_local_response_normalisation_of_an_even_size_may_begin_later():
    x = np.arange(1.0, 4.0).reshape(1, 3, 1)
    squares = np.array([1.0 + 4.0, 4.0 + 9.0, 9.0]) / 2.0
    found = normalisation.local_response_norm(x, 2, 1.0, 1.0, 0.0, before=0)
    np.testing.assert_allclose(found.ravel(), x.ravel() / squares, rtol=1e-15)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_unit_vectors(p):
    agree(
        lambda of: normalisation.lp_normalised(of["x"], 1, p),
        lambda of: F.normalize(of["x"], p, 1),
        {"x": X},
    )


def test_a_vector_of_zeros_is_divided_by_eps():
    np.testing.assert_array_equal(normalisation.lp_normalised(np.zeros((1, 3)), 1), np.zeros((1, 3)))


def test_channels_that_cannot_be_grouped_are_named():
    with pytest.raises(ValueError, match="groups: 4 channels cannot be in 3 groups of equal size"):
        normalisation.group_norm(X, 3)
