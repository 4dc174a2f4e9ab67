"""Writes `docs/traced-functions.md`: which functions of NumPy and SciPy a trace knows, and what it makes of them.

``python tools/traced_functions.py`` makes the calls of `tests/helpers/numpy_calls`, and looks at which steps each
function adds to the program. With ``--check`` it only says whether the file is up to date.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tools")]

import numpy_calls  # noqa: E402
from numpy_calls import elementwise, scipy_special  # noqa: E402
from numpy_calls.observed import INPUTS, flattened  # noqa: E402
from pages import DOCS, main  # noqa: E402

from gradcheck_fast.frontends.numpy_trace import ufuncs  # noqa: E402
from gradcheck_fast.frontends.numpy_trace.array import TracedArray  # noqa: E402
from gradcheck_fast.frontends.numpy_trace.calls import Calls  # noqa: E402
from gradcheck_fast.frontends.numpy_trace.functions import FUNCTIONS, KNOWN, SCIPY  # noqa: E402
from gradcheck_fast.frontends.numpy_trace.recording import Recording  # noqa: E402
from gradcheck_fast.frontends.numpy_trace.registry import implements  # noqa: E402
from gradcheck_fast.inputs.users_files import is_users_file  # noqa: E402

FILE = DOCS / "traced-functions.md"

MOVES = {"gather", "strided", "reshape", "scatter_add"}
LEAVES = {"parameter", "constant"}
#: An example, which `tests/test_docs.py` runs.
EXAMPLE = """What the lines of a function have become:

```python
import numpy as np

import gradcheck_fast as gf


def loss(w):
    gaps = np.diff(np.sort(w))
    return np.sum(np.log1p(gaps))


print(gf.trace(loss, np.array([0.3, 2.0, 1.1])))
```

```text
  line   steps  shape             operations                    source
     7       8  (2,)              gather ×6, greater, subtract  gaps = np.diff(np.sort(w))
     8       2  ()                log1p, sum                    return np.sum(np.log1p(gaps))
```
"""

TEXT = """# What a trace knows of NumPy and SciPy

A function is written down as one of the following. Each step has an exact difference, so that all but the last two are
exact to rounding.

- a step: the function is a step of the program itself.
- moves entries: NumPy says where each entry goes, or the result is a view.
- composed: of other steps.
- looks: what comes out is plain, and does not change unless an entry crosses a border.
- opaque: the function is called, and differenced by itself. The report names it. Functions that are not in this table
  are opaque, too, if they return arrays or numbers.

{example}
`python tools/traced_functions.py` writes this file.

{counts}

| function | what it becomes |
| --- | --- |
{rows}
"""


class Watch:
    """Collects the steps that calls of some function add."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.returned: list[Any] = []
        self._depth = 0

    def around(self, function: Callable[..., Any], wanted: Callable[..., bool]) -> Callable[..., Any]:
        """Returns a function that does the same, and is watched if it is wanted, and not called by itself."""

        def watched(recording: Recording, *args: Any, **kwargs: Any) -> Any:
            if self._depth or not wanted(*args):
                return function(recording, *args, **kwargs)
            before = len(recording.program.steps)
            self._depth += 1
            try:
                found = function(recording, *args, **kwargs)
            finally:
                self._depth -= 1
            self.returned += flattened(found)
            self.names |= dict.fromkeys(
                step.name for step in recording.program.steps[before:] if step.name not in LEAVES
            )
            return found

        return watched

    def __str__(self) -> str:
        values = [value for value in self.returned if value is not None]
        if len(values) == len(self.returned) and not any(type(value) is TracedArray for value in values):
            return "looks"
        names = [name for name in self.names if name != "opaque"]
        others = [f"`{name}`" for name in names if name not in MOVES]
        if list(self.names) == ["opaque"]:
            return "opaque"
        in_part = "; opaque in some cases" if "opaque" in self.names else ""
        if len(others) == 1:
            return f"the step {others[0]}{in_part}"
        if others:
            return f"composed of {', '.join(others)}{in_part}"
        return f"moves entries{in_part}"


def run(calls: list[Callable[..., Any]], ufunc: Callable[..., Any]) -> None:
    """Traces some calls."""
    for call in calls:
        recording = Recording(is_users_file, KNOWN._replace(ufunc=ufunc))
        names = [p.name for p in inspect.signature(call).parameters.values() if p.default is p.empty]
        Calls(recording).convert(call)(**{name: recording.parameter(np.asarray(INPUTS[name])) for name in names})


def _is_plain_call(name: str, ufunc: Any, method: str, inputs: Any, kwargs: Any) -> bool:
    return bool(ufunc.__name__ == name and method == "__call__" and not kwargs)


@contextlib.contextmanager
def replaced(register: Callable[[Any], Any], before: Any, value: Any) -> Iterator[None]:
    """Registers something else in the place of what was registered before, for a while."""
    register(value)
    try:
        yield
    finally:
        register(before)


def name_of(function: Any) -> str:
    """Returns the name by which people call a function."""
    if getattr(np, function.__name__, None) is function:
        return f"np.{function.__name__}"
    return f"{function.__module__.replace('numpy', 'np')}.{function.__name__}"


def rows() -> list[tuple[str, str]]:
    """Returns the names of all functions that are known, and what they become."""
    found = []
    for function, calls in numpy_calls.FUNCTIONS.items():
        if function in FUNCTIONS:
            watch = Watch()
            before = FUNCTIONS[function]
            with replaced(implements(function), before, watch.around(before, lambda *_: True)):
                run(calls, KNOWN.ufunc)
            found.append((name_of(function), str(watch)))
    for prefix, table in (("np", elementwise.UFUNCS), ("scipy.special", scipy_special.SCIPY)):
        for key, calls in table.items():
            name = key if isinstance(key, str) else key.__name__
            watch = Watch()
            if name in SCIPY:
                before = SCIPY[name]
                with replaced(implements(scipy=name), before, watch.around(before, lambda *_: True)):
                    run(calls, KNOWN.ufunc)
            else:
                run(calls, watch.around(ufuncs.apply, partial(_is_plain_call, name)))
            if watch.returned:
                found.append((f"{prefix}.{name}", str(watch)))
    return sorted(set(found))


def text() -> str:
    """Returns what the file should contain."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        table = rows()
    of_numpy = sum(name.startswith("np.") for name, _ in table)
    counts = f"{of_numpy} of NumPy's functions and {len(table) - of_numpy} of SciPy's are known."
    return TEXT.format(example=EXAMPLE, counts=counts, rows="\n".join(f"| `{name}` | {how} |" for name, how in table))


if __name__ == "__main__":
    main(FILE, text)
