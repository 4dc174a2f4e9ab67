"""Writes `docs/torch-operators.md`: which operators of PyTorch's a trace knows, and what it makes of them.

``python tools/torch_operators.py`` makes the calls of `tests/helpers/torch_calls.py`, and looks at which steps the rule
of each operator adds to the program. With ``--check`` it only says whether the file is up to date.
"""

from __future__ import annotations

import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tools")]

from pages import DOCS, main  # noqa: E402
from torch_calls import CALLS  # noqa: E402

from gradcheck_fast.frontends.graphs.replay import replayed  # noqa: E402
from gradcheck_fast.frontends.operators.complex_numbers import LARGEST_MATRIX  # noqa: E402
from gradcheck_fast.frontends.torch_trace.held import Held  # noqa: E402
from gradcheck_fast.frontends.torch_trace.operators import RULES  # noqa: E402
from gradcheck_fast.frontends.torch_trace.operators.complex_numbers import COMPLEX, EACH  # noqa: E402
from gradcheck_fast.frontends.torch_trace.operators.registry import CONSTANT  # noqa: E402
from gradcheck_fast.frontends.torch_trace.replay import tracing  # noqa: E402
from gradcheck_fast.inputs.trees import pack  # noqa: E402

FILE = DOCS / "torch-operators.md"

MOVES = {"gather", "strided", "reshape", "scatter_add"}
LEAVES = {"parameter", "constant"}
#: An example, which `tests/test_docs.py` runs.
EXAMPLE = """What the lines of a loss have become is in a report:

```python
import torch

import gradcheck_fast as gf

model = torch.nn.Sequential(torch.nn.Conv1d(2, 4, 3), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(24, 2))
report = gf.torch.gradcheck(model, torch.nn.CrossEntropyLoss(), torch.randn(5, 2, 8), torch.arange(5) % 2)
for line in report.lines:
    print(line.text, "->", line.operations)
```

```text
0 (Conv1d) -> reshape ×2, matmul, add, strided
1 (GELU) -> gelu
3 (Linear) -> reshape, strided, matmul, add
CrossEntropyLoss -> logsumexp, subtract, reshape ×2, gather, negative, multiply, sum, divide
```
"""

TEXT = """# What a trace knows of PyTorch

A module and its loss are run once, and each operator that reads a value which depends on a parameter is written down as
one of the following. Each step has an exact difference, so that all are exact to rounding.

- a step: the operator is a step of the program itself.
- moves entries: the result has entries of the arguments, or is a sum of some at each place.
- composed: of other steps.

What an operator gives is compared with what PyTorch gives, each time. Operators that are not in this table are called,
and differenced by themselves, and the report names them. Those that give views of their argument, as `view`, `permute`
or `select` do, need no rule: a tensor is known by its place in the memory of which it is a view. Those that write in
place (`add_`) or into an argument `out` do what the operator of the same name does. Operators that are composed of
others (`linear`, `einsum`, `layer_norm`, the cells of recurrent layers) are known by these.

What the code detaches (`detach`, `.data`, `torch.no_grad`, `autograd.grad` without `create_graph`), the rounding of
`fake_quantize`, and the row that `embedding` has for padding, where it is looked up, are held fixed, as autograd does.
If the loss depends on them, a note names the lines.

A complex tensor is a pair of real arrays, and the third column says which operators are known for these. Fourier
transforms of up to {largest} numbers are products with a matrix, and longer ones are the step `fourier`. Parts of
complex tensors (`x.real`, `torch.view_as_real`, `x.conj()`) are views of the same memory.

{example}
`python tools/torch_operators.py` writes this file.

{count} operators are known.

| operator | what it becomes | complex |
| --- | --- | --- |
{rows}

{constant}
"""


def watched(found: dict[str, dict[str, None]], name: str, rule: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a rule that notes which steps it adds."""

    def watching(call: Any, *args: Any, **kwargs: Any) -> Any:
        before = len(call.recording.program.steps)
        result = rule(call, *args, **kwargs)
        names = (step.name for step in call.recording.program.steps[before:])
        found.setdefault(name, {}).update(dict.fromkeys(name for name in names if name not in LEAVES))
        return result

    return watching


def steps_by_operator() -> dict[str, dict[str, None]]:
    """Returns the names of the steps that the rule of each operator adds in all calls."""
    found: dict[str, dict[str, None]] = {}
    rules, of_complex = dict(RULES), dict(COMPLEX)
    RULES.update({name: watched(found, name, rule) for name, rule in rules.items()})
    COMPLEX.update({name: watched(found, name, rule) for name, rule in of_complex.items() if name not in rules})
    try:
        for name, (function, shape) in CALLS.items():
            torch.manual_seed(0)
            tensor = torch.randn(shape, dtype=torch.float64, requires_grad=name.startswith("gradient"))

            held = Held() if name.startswith("rounded") else None  # only so do these rules hold

            def replay(
                recording: Any, arrays: Any, function: Any = function, tensor: Any = tensor, held: Any = held
            ) -> Any:
                with tracing(recording, {"y": tensor}, arrays, {}, held):
                    function(tensor * 1.0)

            replayed(replay, pack({"y": tensor.detach().numpy()}), lambda recording, result: result)
    finally:
        RULES.update(rules)
        COMPLEX.update(of_complex)
    return found


def described(names: dict[str, None]) -> str:
    """Says what an operator becomes."""
    others = [f"`{name}`" for name in names if name not in MOVES]
    if len(others) == 1:
        return f"the step {others[0]}"
    return f"composed of {', '.join(others)}" if others else "moves entries"


def text() -> str:
    """Returns what the file should contain."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = steps_by_operator()
    known = {*COMPLEX, *EACH}
    missing = sorted({*RULES, *COMPLEX} - set(found))
    if missing:
        raise ValueError(f"no call of tests/helpers/torch_calls.py needs the rules of {', '.join(missing)}")
    rows = "\n".join(f"| `{name}` | {described(found[name])} | {'yes' * (name in known)} |" for name in sorted(found))
    names = ", ".join(f"`{name}`" for name in sorted(CONSTANT))
    constant = textwrap.fill(
        f"The results of these depend on no parameter, whatever they are given; random numbers are frozen: {names}.",
        120,
    )
    return TEXT.format(example=EXAMPLE, count=len(found), rows=rows, constant=constant, largest=LARGEST_MATRIX)


if __name__ == "__main__":
    main(FILE, text)
