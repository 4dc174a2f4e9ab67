"""What the loops over parameters share that are timed beside ours."""

from time import perf_counter

import numpy as np

#: How far they move a parameter.
EPSILON = 1e-4


def sampled(size, seconds, run):
    """Seconds for `size` parameters, from the time of `run(indices)` for some; and for how many."""
    order, first = np.random.default_rng(0).permutation(size), getattr(run, "at_once", 8)
    run(order[:first])  # compiles, or warms up
    count = min(first, size)
    while True:
        before = perf_counter()
        run(order[:count])
        taken = perf_counter() - before
        if taken > seconds / 2 or count == size:
            return taken / count * size, count
        count = min(size, count * 2)


def jax_slopes(cost, flat, at_once):
    """Slopes of a cost of one vector, by a jitted map over so many parameters at once: its length has to be fixed."""
    import jax
    import jax.numpy as jnp

    flat = jnp.asarray(flat)

    def slope(k):
        return (cost(flat.at[k].add(EPSILON)) - cost(flat.at[k].add(-EPSILON))) / (2 * EPSILON)

    gradient = jax.jit(lambda indices: jax.lax.map(slope, indices))

    def run(indices):
        for begin in range(0, len(indices), at_once):
            some = np.resize(indices[begin : begin + at_once], at_once)
            gradient(jnp.asarray(some)).block_until_ready()

    run.at_once = at_once
    return run
