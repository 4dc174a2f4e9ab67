"""Losses as users of JAX write them: the exact engine knows them all, jax.grad agrees, a small error is found."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax_functions import FUNCTIONS, case, missing  # noqa: E402

import gradcheck_fast as gf  # noqa: E402

#: The part of its size by which a planted entry is wrong.
ERROR = 1e-6
#: Steps that are no primitives, and are differenced by themselves.
OPAQUE = "is differenced by itself, not exactly"


def example(name):
    needed = missing(name)
    if needed:
        pytest.skip(f"{', '.join(needed)} not installed")
    return case(name)


@pytest.fixture(autouse=True)
def in_double():
    """The losses are written for float64."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_entry_is_right_to_rounding_and_an_error_of_a_millionth_of_one_is_found(name):
    """They are one test, because what takes long is that JAX compiles a function, and each process does so anew."""
    loss, params = example(name)
    report = gf.jax.gradcheck(loss, params, n_threads=1)
    assert report.ok, str(report)
    assert report.certificate is not None and report.certificate.holds, report.notes
    exact = not any(OPAQUE in note for note in report.notes)
    assert report.relative_error <= (1e-12 if exact else 1e-8), (report.relative_error, report.notes)

    leaves, tree = jax.tree.flatten(jax.grad(loss)(params))
    arrays = [np.array(leaf) for leaf in leaves]
    largest = max(range(len(arrays)), key=lambda k: np.abs(arrays[k]).max(initial=0.0))
    entry = np.unravel_index(np.argmax(np.abs(arrays[largest])), arrays[largest].shape)
    arrays[largest][entry] *= 1.0 + ERROR
    report = gf.jax.gradcheck(loss, params, jax.tree.unflatten(tree, arrays), n_threads=1)
    assert sum(array.wrong for array in report.arrays) == 1
    (worst,) = report.worst(1)
    assert worst.index == entry
