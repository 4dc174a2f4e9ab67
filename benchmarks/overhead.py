"""Python functions: what an evaluation takes beyond calling the function, for some trees of parameters.

    python benchmarks/overhead.py

The function does nothing; what it takes to be called is taken off.
"""

import numpy as np
from common import median_time, parse, parser, report

import gradcheck_fast as gf

TREES = {
    "vector of 9": np.ones(9),
    "vector of 1,000": np.ones(1000),
    "matrix 20 x 50": np.ones((20, 50)),
    "dict of 4 arrays, 940 entries": {
        "W1": np.ones((20, 30)), "b1": np.ones(30), "W2": np.ones((30, 10)), "b2": np.ones(10),
    },
    "list of 6 matrices, 600 entries": [np.ones((10, 10)) for _ in range(6)],
    "vector of 10,000": np.ones(10_000),
}  # fmt: skip


def nothing(params):
    """A loss that takes no time."""
    return 0.0


def main():
    """Prints the table."""
    given = parse(parser(__doc__))
    rows = []
    for name, tree in TREES.items():
        evaluations = 2 * sum(np.size(leaf) for leaf in (tree.values() if isinstance(tree, dict) else tree)) + 2

        def bare(tree=tree, evaluations=evaluations):
            for _ in range(evaluations):
                nothing(tree)

        whole = median_time(lambda tree=tree: gf.numerical_gradient(nothing, tree, method="direct"), 31)
        beyond = (whole - median_time(bare, 31)) / evaluations
        rows.append({"parameters": name, "us per evaluation": 1e6 * beyond, "us in all": 1e6 * whole})
    report("Overhead of evaluating Python functions", rows, given, draw)


def draw(axes, rows):
    """A bar for each tree."""
    axes.barh([row["parameters"] for row in rows], [row["us per evaluation"] for row in rows])
    axes.set_xlabel("microseconds per evaluation")


if __name__ == "__main__":
    main()
