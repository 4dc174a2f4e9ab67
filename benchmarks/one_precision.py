"""Measures how checks of kernels of one precision do: right ones that are accused, planted mistakes that are found.

Operators are drawn by seeds (tests/helpers/one_precision_operators.py): three of four are functions of PyTorch tensors,
which `gf.torch.check_function` checks, and one of four a function of NumPy arrays with a backward written by hand, as
`gf.check_vjp` checks it. All refuse any dtype but their own. Half of NumPy's round after every operation; the others
compute in float32 inside, as kernels with accumulators of float32 do. There are elementwise functions, products,
softmax, norms, reductions, convolutions, attention, gather and scatter, and losses. Arrays have 1 to 60 entries, and up
to 256 in one operator of ten; their numbers are normally distributed, times a scale from 1e-3 to 1e3. Functions that
saturate have units of that scale, but one of ten has not, and may be saturated.

The right backward of each is checked. Then one entry of the gradient is made wrong by 1 % (float32), 3 % (float16) or
10 % (bfloat16), up or down: one of ordinary size, at least half the root mean square of its array. Nothing is
planted in what may be saturated, nor where outputs or gradients are so small that they have fewer digits.
INCONCLUSIVE counts as not found.

    python benchmarks/one_precision.py --operators 2000 --planted 500

``--first`` begins with another seed, so that several processes can share them.
"""

import sys
import warnings
from pathlib import Path
from time import process_time

import numpy as np
import torch
from common import parse, parser, report

import gradcheck_fast as gf

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "helpers")]
from helpers.one_precision_operators import PLANTED, random_operator  # noqa: E402


def row(precision, first, operators, planted):
    """Checks random operators of a precision, and plants a mistake in as many of the first as are asked for."""
    false_alarms, undecided, found, seconds = [], 0, [], process_time()
    for seed in range(first, first + operators):
        operator = random_operator(precision, seed)
        options = {} if "NumPy" in operator.name else {"skip": gf.torch.ASPECTS}
        right = operator.check(**options)
        undecided += right.verdict == "INCONCLUSIVE"
        if right.verdict == "FAIL":
            false_alarms.append(operator.name)
        if len(found) >= planted or not operator.is_representative(right.flat_analytic, precision):
            continue
        at = operator.ordinary(right.flat_analytic, np.random.default_rng(seed))
        if at is not None:
            wrong = operator.check(at, 1.0 + PLANTED[precision] * (-1) ** (seed // 3), **options)
            found.append(wrong.verdict == "FAIL")
            if not found[-1]:
                print(f"{precision}: not found in {operator.name}, entry {at}: {wrong.verdict}", file=sys.stderr)
    for name in false_alarms:
        print(f"{precision}: false alarm: {name}", file=sys.stderr)
    return {
        "precision": precision, "right operators": operators, "accused": len(false_alarms), "undecided": undecided,
        "planted": len(found), "error": f"{100 * PLANTED[precision]:g} %",
        "found": f"{100 * np.mean(found):.1f} %" if found else "none planted", "CPU s": process_time() - seconds,
    }  # fmt: skip


def main():
    options = parser(__doc__)
    options.add_argument("--operators", type=int, default=200, help="of each precision")
    options.add_argument("--first", type=int, default=0, help="the seed of the first operator")
    options.add_argument("--planted", type=int, default=100, help="mistakes, in the first operators")
    options.add_argument("--precision", choices=PLANTED, help="one alone")
    given = parse(options)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    precisions = [given.precision] if given.precision else list(PLANTED)
    rows = [row(precision, given.first, given.operators, given.planted) for precision in precisions]
    report("Kernels of one precision", rows, given)


if __name__ == "__main__":
    main()
