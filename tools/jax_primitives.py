"""Writes `docs/jax-primitives.md`: which primitives of JAX are known, and what they become.

``python tools/jax_primitives.py`` makes the calls of `tests/helpers/jax_calls`, and looks at which steps each primitive
adds to the program. With ``--check`` it only says whether the file is up to date.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tools")]

import jax_calls  # noqa: E402
from pages import DOCS, main  # noqa: E402
from traced_functions import LEAVES, Watch  # noqa: E402

from gradcheck_fast.frontends.graphs.replay import replayed  # noqa: E402
from gradcheck_fast.frontends.jaxpr import complex_numbers  # noqa: E402
from gradcheck_fast.frontends.jaxpr.interpreter import RULES, Interpreter, Stops  # noqa: E402
from gradcheck_fast.frontends.operators.elementary import is_traced  # noqa: E402
from gradcheck_fast.inputs.trees import pack  # noqa: E402

FILE = DOCS / "jax-primitives.md"

#: An example, which `tests/test_docs.py` runs.
EXAMPLE = """What the lines of a loss have become is in a report:

```python
import jax
import jax.numpy as jnp

import gradcheck_fast as gf

x = jnp.array([[1.0, -2.0], [0.5, 3.0]])


def loss(params):
    hidden = jax.nn.silu(x @ params["W"] + params["b"])
    return jnp.sum(jnp.sin(hidden) ** 2)


report = gf.jax.gradcheck(loss, {"W": jnp.ones((2, 3)), "b": jnp.zeros(3)})
for line in report.lines:
    print(line.text.strip(), "->", line.operations)
```

```text
hidden = jax.nn.silu(x @ params["W"] + params["b"]) -> matmul, reshape, add, sigmoid, multiply
return jnp.sum(jnp.sin(hidden) ** 2) -> sin, square, sum
```
"""

TEXT = """# The primitives of JAX that are known

`gf.jax.gradcheck` writes the jaxpr of a loss down, equation by equation. What a primitive becomes is one of the
following. Each step has an exact difference, so that all but the last two are exact to rounding.

- a step: the primitive is a step of the program itself.
- moves entries: an index map says where each entry goes, or the result is a view.
- composed: of other steps.
- looks: what comes out is plain, and does not change unless an entry crosses a border.
- its jaxpr: what it contains is done. Loops are unrolled as often as they go around at the parameters, and branches are
  fixed to the way that is taken there.
- plain: JAX itself evaluates it, of what depends on no parameter. Elsewhere it is opaque.
- opaque: JAX itself evaluates it, and it is differenced by itself. The report names it. Primitives that are not in this
  table are opaque, too, if they take and give real numbers.

What is complex is a pair of real arrays; this column says for which primitives.

{example}
`python tools/jax_primitives.py` writes this file, with the names that JAX {version} has.

{count} primitives are known.

| primitive | what it becomes | complex |
| --- | --- | --- |
{rows}
"""


class WatchedRule(Watch):
    """Collects the steps that a rule adds."""

    def of_rule(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function that does the same, and is watched where an input is traced."""

        def watched(op: Any, *x: Any) -> Any:
            before = len(op.recording.program.steps)
            found = function(op, *x)
            if any(map(is_traced, x)) and not self._depth:
                self.returned += found if isinstance(found, list) else [found]
                steps = op.recording.program.steps[before:]
                self.names |= dict.fromkeys(step.name for step in steps if step.name not in LEAVES)
            return found

        return watched


@contextmanager
def watching(name: str, watch: WatchedRule) -> Iterator[None]:
    """Watches a rule for a while."""
    before = RULES[name]
    RULES[name] = before._replace(function=watch.of_rule(before.function))
    try:
        yield
    finally:
        RULES[name] = before


def run(call: Callable[..., Any]) -> None:
    """Traces a call."""
    names = list(inspect.signature(call).parameters)[: call.__code__.co_argcount - len(call.__defaults__ or ())]
    inputs = {name: jax_calls.INPUTS[name] for name in names}
    jaxpr = jax.make_jaxpr(call)(*inputs.values())
    replayed(
        lambda recording, arrays: Interpreter(recording, nullcontext, Stops.NONE).run(jaxpr, list(arrays.values())),
        pack(inputs), lambda recording, found: found,
    )  # fmt: skip


def rows() -> list[tuple[str, str, str]]:
    """Returns the names of all primitives that are known, what they become, and whether complex numbers do."""
    found = {}
    for name, calls in jax_calls.CALLS.items():
        rule = RULES.get(name)
        if name in complex_numbers.NAMES and rule is None:
            becomes = "composed of `matmul`, `add`, `subtract`, `multiply`"
        elif rule is None:
            becomes = "plain" if name in jax_calls.PLAIN else "opaque"
        elif rule.is_call:
            becomes = "its jaxpr"
        else:
            watch = WatchedRule()
            with watching(name, watch):
                for call in calls:
                    run(call)
            becomes = str(watch) if watch.returned else "plain"
        known = name in complex_numbers.NAMES or (rule is not None and (rule.parts == "each" or rule.is_call))
        found[name] = becomes, "yes" if known else ""
    for name in jax_calls.PLAIN:
        found[name] = "plain", ""
    for name in sorted(complex_numbers.NAMES - set(found)):
        found[name] = "of complex numbers", "yes"
    return [
        (", ".join(f"`{each}`" for each in (name, *jax_calls.OLDER_NAMES.get(name, ()))), *how)
        for name, how in sorted(found.items())
    ]


def text() -> str:
    """Returns what the file should contain."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), jax.enable_x64(True):
        warnings.simplefilter("ignore")
        table = rows()
    lines = "\n".join(f"| {name} | {how} | {known} |".replace("|  |", "| |") for name, how, known in table)
    return TEXT.format(example=EXAMPLE, version=jax.__version__, count=len(table), rows=lines)


if __name__ == "__main__":
    main(FILE, text)
