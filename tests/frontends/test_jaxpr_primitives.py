"""The primitives of JAX: each does in NumPy what JAX does, and so does its slope."""

from __future__ import annotations

import inspect
import runpy
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")
import jax_calls  # noqa: E402
from jax import lax  # noqa: E402
from jax import numpy as jnp  # noqa: E402

from gradcheck_fast.checks.numerical_gradient import numerical_gradient  # noqa: E402
from gradcheck_fast.frontends.graphs.replay import replayed  # noqa: E402
from gradcheck_fast.frontends.jaxpr.complex_numbers import NAMES  # noqa: E402
from gradcheck_fast.frontends.jaxpr.interpreter import RULES, Interpreter, Stops  # noqa: E402
from gradcheck_fast.frontends.jaxpr.jaxpr_loss import jaxpr_loss, jaxpr_of  # noqa: E402
from gradcheck_fast.inputs.trees import pack  # noqa: E402

#: What occurs in at least two of 115 functions as people write them, with the releases of 2026.
USUAL = """reduce_sum add broadcast_in_dim dot_general jit mul convert_element_type max select_n sub div lt exp
custom_jvp_call iota transpose integer_pow stop_gradient abs eq reshape squeeze neg reduce_max tanh log sin min square
gather slice ne gt or logistic log1p split sqrt scan concatenate random_bits shift_right_logical bitcast_convert_type ge
rsqrt and sort expm1 conv_general_dilated cond scatter is_finite sign argmax while lu custom_linear_solve
triangular_solve reduce_or le copy reduce_window_max remat2 cos pad platform_index rem random_fold_in reduce_window_sum
rev scatter-add custom_vjp_call clamp add_any cholesky floor random_split erf_inv atan2 pow stack dynamic_slice"""
#: Calls of primitives; each 16th is made by default.
CALLS = [
    pytest.param(name, k, marks=[pytest.mark.long] * bool((number + k) % 16))
    for number, (name, calls) in enumerate(jax_calls.CALLS.items())
    for k in range(len(calls))
]
#: Functions that do the same as the calls of these primitives, which JAX cannot differentiate by itself.
SAME = {"pure_callback": lambda x: jnp.sin(2.0 * x), "custom_vmap_call": lambda x: jnp.sin(x)}


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def inputs_of(call):
    return {name: jax_calls.INPUTS[name] for name in inspect.signature(call).parameters if name in jax_calls.INPUTS}


def cost_of(calls):
    """Returns a number of which every entry of what the calls give is a part, and no two of the same weight."""

    def cost(arrays):
        total = 0.0
        for call in calls:
            found = call(**{name: arrays[name] for name in inputs_of(call)})
            weights = jnp.cos(jnp.arange(float(found.size))).reshape(found.shape)
            total = total + jnp.sum(weights * jnp.sin(found) + 0.1 * found)
        return total

    return cost


def slopes(calls):
    """Returns the gradient of the cost of these calls by the program and by JAX."""
    params = {name: array for call in calls for name, array in inputs_of(call).items()}
    cost = jax.jit(cost_of(calls))
    packed = pack(params)
    jaxpr = jaxpr_of(cost, packed, nullcontext)
    loss = jaxpr_loss(jaxpr, lambda arrays: cost(arrays).item(), packed, nullcontext).loss
    return numerical_gradient(loss, params, method="chain"), cost, params


def agree(found, expected, part):
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=part * np.abs(expected[name]).max())


def test_all_that_is_usual_is_in_the_table():
    rows = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "jax_primitives.py"))["rows"]()
    listed = {name.strip("` ") for names, *_ in rows for name in names.split(",")}
    assert set(USUAL.split()) <= listed
    assert set(RULES) | NAMES <= listed


def test_the_table_in_the_docs_is_up_to_date():
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "jax_primitives.py"))
    if jax.__version__ not in tool["FILE"].read_text():
        pytest.skip("the table is one of another version of JAX")
    assert tool["FILE"].read_text() == tool["text"](), "run tools/jax_primitives.py"


@pytest.mark.parametrize("name, k", CALLS)
def test_a_primitive(name, k):
    by_itself = pytest.warns(UserWarning, match="differenced by itself") if name in jax_calls.OPAQUE else nullcontext()
    with by_itself:
        found, cost, params = slopes([jax_calls.CALLS[name][k]])
    cost = cost_of([SAME[name]]) if name in SAME else cost
    expected = jax.jit((jax.jacfwd if name == "while" else jax.grad)(cost))(params)
    agree(found, expected, 1e-8 if name in jax_calls.OPAQUE else 1e-12)


def values(function, *arrays):
    """Returns what a function gives by the rules, of traced arrays."""
    jaxpr = jax.make_jaxpr(function)(*arrays)

    def replay(recording, traced):
        (found,) = Interpreter(recording, nullcontext, Stops.NONE).run(jaxpr, list(traced.values()))
        return found._view

    return replayed(replay, pack({str(k): array for k, array in enumerate(arrays)}), lambda _, found: found)[1]


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(k, marks=pytest.mark.long) for k in range(3, 40))])
def test_gathers_and_scatters_of_any_dimension_numbers(seed):
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 4))
    shape = tuple(rng.integers(1, 5, ndim).tolist())
    started = rng.permutation(ndim)[: rng.integers(1, ndim + 1)].tolist()
    sizes = tuple(int(rng.integers(1, n + 1)) for n in shape)
    dropped = tuple(sorted(k for k in range(ndim) if sizes[k] == 1 and rng.random() < 0.6))
    kept = [n for k, n in enumerate(sizes) if k not in dropped]
    rows = tuple(rng.integers(1, 4, rng.integers(0, 3)).tolist())
    indices = rng.integers(-1, 5, (*rows, len(started)))
    places = tuple(sorted(rng.permutation(len(rows) + len(kept))[: len(kept)].tolist()))
    of_gather = lax.GatherDimensionNumbers(places, dropped, tuple(started))
    of_scatter = lax.ScatterDimensionNumbers(places, dropped, tuple(started))
    x = rng.normal(size=shape)
    for mode in ("clip", "fill"):
        gather = partial(
            lax.gather, start_indices=indices, dimension_numbers=of_gather, slice_sizes=sizes, mode=mode, fill_value=7.0
        )
        taken = jax.jit(gather)(x)
        np.testing.assert_array_equal(values(gather, x), taken)
        add = lambda x, u, mode=mode: lax.scatter_add(x, indices, u, of_scatter, mode=mode)
        updates = rng.normal(size=taken.shape)
        np.testing.assert_allclose(values(add, x, updates), jax.jit(add)(x, updates), rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(k, marks=pytest.mark.long) for k in range(3, 40))])
def test_convolutions_and_windows_of_any_numbers(seed):
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    some = lambda low, high: tuple(rng.integers(low, high, axes).tolist())
    size, kernel, base, dilation = some(3, 6), some(1, 4), some(1, 3), some(1, 3)
    padding = [(int(p), int(q)) for p, q in rng.integers(-1, 4, (axes, 2))]
    padding = [(p + d * k, q) for (p, q), d, k in zip(padding, dilation, kernel, strict=True)]
    of_features, of_batch = [(1, 1), (2, 1), (1, 2)][rng.integers(3)]
    outputs = 2 * of_features * of_batch
    x = rng.normal(size=(2 * of_batch, 2 * of_features, *size))
    w = rng.normal(size=(outputs, 2, *kernel))
    orders = [tuple(rng.permutation(axes + 2).tolist()) for _ in range(3)]
    convolve = partial(
        lax.conv_general_dilated, window_strides=some(1, 3), padding=padding, lhs_dilation=base, rhs_dilation=dilation,
        dimension_numbers=lax.ConvDimensionNumbers(*orders), feature_group_count=of_features,
        batch_group_count=of_batch,
    )  # fmt: skip
    x, w = (np.transpose(array, np.argsort(order)) for array, order in zip((x, w), orders[:2], strict=True))
    expected = jax.jit(convolve)(x, w)
    np.testing.assert_allclose(values(convolve, x, w), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    around = [(abs(p), abs(q)) for p, q in padding]
    pool = lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, *kernel, 1), (1, *some(1, 3), 1), [(0, 0), *around, (0, 0)],
        base_dilation=(1, *base, 1), window_dilation=(1, *dilation, 1),
    )  # fmt: skip
    state = rng.bit_generator.state
    x, found = rng.normal(size=(2, *size, 2)), []
    for evaluated in (jax.jit(pool), partial(values, pool)):
        rng.bit_generator.state = state
        found.append(evaluated(x))
    np.testing.assert_array_equal(*found)
