"""Python functions: how accurate their gradients are, and with how many calls, beside SciPy and numdifftools.

    python benchmarks/accuracy.py

50 functions with known gradients (tests/helpers/functions.py): the median relative error of all entries of a kind, and
the calls of the functions. Peers that are not installed are left out.
"""

import sys
from pathlib import Path

import numpy as np
from common import parse, parser, report

import gradcheck_fast as gf

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from functions import PEERS, measure, peers


def ways():
    """What finds a gradient, by name."""
    others = peers()
    for name in PEERS.keys() - others.keys():
        print(f"{name} is not installed", file=sys.stderr)
    return {
        "numerical_gradient": gf.numerical_gradient,
        "with error bars": lambda f, x: gf.numerical_gradient(f, x, error_bars=True)[0],
        'method="direct"': lambda f, x: gf.numerical_gradient(f, x, method="direct"),
        **others,
    }


def main():
    """Prints the table."""
    given = parse(parser(__doc__))
    rows = []
    for name, find in ways().items():
        errors, calls = measure(find)
        row = {"": name, "all": float(np.median(np.concatenate(list(errors.values())))), "calls": sum(calls.values())}
        rows.append(row | {kind: float(np.median(found)) for kind, found in errors.items()})
    report("Median relative error of gradients of 50 functions", rows, given, draw)


def draw(axes, rows):
    """Bars for each kind of function."""
    kinds = [kind for kind in rows[0] if kind not in ("", "calls")]
    for k, row in enumerate(rows):
        places = np.arange(len(kinds)) + 0.8 * k / len(rows)
        axes.bar(places, [max(row[kind], 1e-17) for kind in kinds], 0.8 / len(rows), label=row[""], bottom=0.0)
    axes.set_yscale("log")
    axes.set_xticks(np.arange(len(kinds)) + 0.4, kinds)
    axes.set_ylabel("median relative error (1e-17: none)")
    axes.legend(fontsize=8)


if __name__ == "__main__":
    main()
