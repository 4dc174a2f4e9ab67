"""Gradient checkers side by side: which mistakes they miss, and which right gradients they accuse.

    python benchmarks/checkers.py [--write]

Every case of `tests/helpers/checker_cases` is an operator with a backward pass in NumPy. Each checker gets it in its
own form (a `torch.autograd.Function`, a `jax.custom_vjp`, a primitive of HIPS autograd, a function and its gradient),
in float64, with its default settings. With ``--write`` the table becomes ``docs/checkers.md``.
"""

import contextlib
import io
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import autograd.extend
import autograd.numpy as anp
import autograd.test_util
import jax
import numdifftools
import numpy as np
import scipy
import torch
from jax.test_util import check_grads

import gradcheck_fast as gf

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from checker_cases import AWKWARD, CASES, PLANTED  # noqa: E402

#: What functions that return a number or a gradient, and no verdict, are taken to have reported: more than this part of
#: the gradient, or NumPy's `allclose` with its default tolerances.
REPORTED = 1e-6
#: More numbers take some checkers minutes.
MOST_ENTRIES = {"torch, slow": 2000, "numdifftools": 100}


def ours(case):
    report = gf.check_vjp(case.f, case.vjp, case.inputs)
    return None if report.verdict == "INCONCLUSIVE" else report.ok


def torch_function(case):
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            return torch.from_numpy(np.array(case.f(*(x.detach().numpy() for x in inputs))))

        @staticmethod
        def backward(ctx, v):
            found = case.vjp(v.numpy(), *(x.detach().numpy() for x in ctx.saved_tensors))
            return tuple(torch.from_numpy(np.array(g)) for g in found)

    return Function.apply


def by_torch(case, fast_mode):
    if not fast_mode and case.inputs[0].size > MOST_ENTRIES["torch, slow"]:
        return "too long"
    inputs = tuple(torch.tensor(x, requires_grad=True) for x in case.inputs)
    return torch.autograd.gradcheck(torch_function(case), inputs, raise_exception=False, fast_mode=fast_mode)


def by_jax(case, dtype):
    with jax.enable_x64(dtype is np.float64):
        like = jax.ShapeDtypeStruct(np.shape(case.f(*case.inputs)), dtype)
        shapes = tuple(jax.ShapeDtypeStruct(x.shape, dtype) for x in case.inputs)
        called = lambda *x: np.asarray(case.f(*(np.asarray(a, np.float64) for a in x)), dtype)
        back = lambda v, *x: tuple(
            np.asarray(g, dtype) for g in case.vjp(np.asarray(v, np.float64), *(np.asarray(a, np.float64) for a in x))
        )
        f = jax.custom_vjp(lambda *x: jax.pure_callback(called, like, *x))
        f.defvjp(lambda *x: (f(*x), x), lambda x, v: jax.pure_callback(back, shapes, v, *x))
        return raises_nothing(check_grads, f, tuple(np.asarray(x, dtype) for x in case.inputs), 1, modes=["rev"])


def by_autograd(case):
    f = autograd.extend.primitive(case.f)
    rules = [lambda out, *x, k=k: lambda v: case.vjp(np.asarray(v), *x)[k] for k in range(len(case.inputs))]
    autograd.extend.defvjp(f, *rules)
    check = autograd.test_util.check_grads(f, modes=["rev"], order=1)
    return raises_nothing(check, *(anp.array(x) for x in case.inputs))


def as_scalar(case):
    """The product with a fixed cotangent as a function of one flat vector, its gradient, and the vector."""
    v = np.random.default_rng(0).normal(size=np.shape(case.f(*case.inputs)))
    ends = np.cumsum([x.size for x in case.inputs])[:-1]
    split = lambda flat: [p.reshape(x.shape) for p, x in zip(np.split(flat, ends), case.inputs, strict=True)]
    value = lambda flat: float((v * case.f(*split(flat))).sum())
    gradient = lambda flat: np.concatenate([np.ravel(g) for g in case.vjp(v, *split(flat))])
    return value, gradient, np.concatenate([np.ravel(x) for x in case.inputs])


def by_scipy(case):
    value, gradient, at = as_scalar(case)
    return bool(scipy.optimize.check_grad(value, gradient, at) <= REPORTED * np.linalg.norm(gradient(at)))


def by_numdifftools(case):
    value, gradient, at = as_scalar(case)
    if at.size > MOST_ENTRIES["numdifftools"]:
        return "too long"
    return bool(np.allclose(gradient(at), numdifftools.Gradient(value)(at)))


def raises_nothing(check, *arguments, **keywords):
    try:
        check(*arguments, **keywords)
    except AssertionError:
        return False
    return True


CHECKERS = {
    "gradcheck_fast": ours,
    "torch, slow": lambda case: (
        by_torch(case, False) if case.inputs[0].size <= MOST_ENTRIES["torch, slow"] else "too long"
    ),
    "torch, fast": lambda case: by_torch(case, True),
    "jax, float64": lambda case: by_jax(case, np.float64),
    "jax, float32": lambda case: by_jax(case, np.float32),
    "autograd": by_autograd,
    "scipy": by_scipy,
    "numdifftools": by_numdifftools,
}
SAID = {True: "passes", False: "reported", None: "undecided"}


def verdict(check, case):
    """What a checker says of a case: ``passes``, ``reported``, ``undecided``, or that it raised an error."""
    np.random.seed(0)  # noqa: NPY002 (autograd draws from it)
    torch.manual_seed(0)
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            found = check(case)
        except Exception as error:
            return f"raises {type(error).__name__}"
    return SAID.get(found, found)


def is_good(case, said):
    return said == ("reported" if case.is_wrong else "passes")


def table(cases, found):
    rows = [f"| | {' | '.join(CHECKERS)} |", f"|---{'|---' * len(CHECKERS)}|"]
    for case in cases:
        cells = [
            said if is_good(case, said) or said == "too long" else f"**{said}**" for said in found[case.name].values()
        ]
        rows.append(f"| {case.name.replace('|', chr(92) + '|')} | {' | '.join(cells)} |")
    return "\n".join(rows)


def totals(cases, found, name):
    said = [(case, found[case.name][name]) for case in cases]
    return sum(not is_good(case, what) for case, what in said if what != "too long")


def page(found):
    counts = [f"| {name} | {totals(PLANTED, found, name)} | {totals(AWKWARD, found, name)} |" for name in CHECKERS]
    peers = ("torch", "jax", "autograd", "scipy", "numdifftools")
    return TEXT.format(
        versions=", ".join(f"{name} {version(name).partition('+')[0]}" for name in peers),
        counts="\n".join(counts), planted=table(PLANTED, found), awkward=table(AWKWARD, found),
    )  # fmt: skip


TEXT = """# Gradient checkers side by side

Forty backward passes with a mistake, and forty right ones at points that are difficult for differences, each given to
every checker in its own form, in float64 (but for one column), with default settings. `benchmarks/checkers.py` asks
them all and writes this page. The cases are in `tests/helpers/checker_cases`, and each row is a test of this library.
Versions: {versions}.

Cells in bold are not what one wants: a mistake that passes, or a right gradient that is reported. "undecided" is the
verdict INCONCLUSIVE. SciPy's `check_grad` returns a number, which is taken for a report if it is more than 1e-6 of the
gradient's norm. numdifftools returns a gradient, which is compared by `numpy.allclose`. HIPS autograd's `check_grads`
looks at the first argument alone. Beyond 2,000 numbers torch's slow mode, and beyond 100 numdifftools, take minutes:
they were not run there ("too long"), and such rows are not counted.

| | mistakes that are not reported, of 40 | right gradients that do not pass, of 40 |
|---|---|---|
{counts}

```{{eval-rst}}
.. plot:: pictures/checkers.py
   :alt: Of 40 mistakes and 40 right gradients, how many each checker judges wrongly: the numbers of the table above.
```

What is undecided here: the gradient of a function that is flat everywhere is zero, and so is that of a loss which has
lost its parameters; where three numbers are equal, every slope between two of opposite signs is right. In either case
there is nothing to check, and no verdict.

## Mistakes

{planted}

## Right gradients

{awkward}
"""


def main():
    found = {case.name: {name: verdict(check, case) for name, check in CHECKERS.items()} for case in CASES}
    text = page(found)
    if "--write" in sys.argv[1:]:
        (ROOT / "docs" / "checkers.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
