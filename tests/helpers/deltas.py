"""What hand-written back-propagation computes between the loss and the gradient, without a change of its code."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name, *mistakes, directory=None):
    """An example as a module; of each pair of texts the first, which stands in it once, is replaced by the second.

    The changed source is written into the directory, for its functions are compiled once more when they are traced.
    """
    path = EXAMPLES / f"{name}.py"
    source = path.read_text()
    for old, new in mistakes:
        assert source.count(old) == 1, (name, old, source.count(old))
        assert old.count("\n") == new.count("\n")  # the lines keep their numbers
        source = source.replace(old, new)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    if mistakes:
        path = directory / path.name
        path.write_text(source)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def deltas_of(function, *arguments, of=None):
    """Calls a function; returns the arrays named d… of its own and of the functions of its file that it calls.

    Those of the functions in `of` have their own names; those of all others are named after the function, and its call:
    ``conv_backward 2.dout``.
    """
    file = function.__code__.co_filename
    of = of or (function.__code__.co_name,)
    found, calls = {}, {}

    def returned(frame, event, _):
        code = frame.f_code
        if event != "return" or code.co_filename != file:
            return
        name = code.co_name
        calls[name] = calls.get(name, 0) + 1
        prefix = "" if name in of else f"{name} {calls[name]}."
        for key, value in frame.f_locals.items():
            if key.startswith("d") and isinstance(value, np.ndarray) and value.dtype.kind == "f":
                found[prefix + key] = value.copy()

    sys.setprofile(returned)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return found
