"""Plants mistakes in the source of an example, and finds the lines of it again."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gradcheck_fast import trace
from gradcheck_fast.diagnosis.backward_pass.lines import Parting, parting_line
from gradcheck_fast.diagnosis.graph.backward import Backward
from gradcheck_fast.inputs.trees import pack, pack_as

EXAMPLES = Path(__file__).parents[2] / "examples"


def planted_module(source: str, folder: Path, *, right: str = "", wrong: str = "") -> tuple[ModuleType, int]:
    """A module with one piece of its source replaced, and the number of the line where that is."""
    if right:
        assert source.count(right) == 1, f"{right!r} must be there once"
    begin = source.index(right) if right else 0
    line = source[:begin].count("\n") + 1
    path = folder / f"planted_{abs(hash((right, wrong)))}.py"
    path.write_text(source.replace(right, wrong) if right else source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, line


def parting(
    loss: Callable[[Any], Any], gradient: Callable[[Any], Any], params: Any, *, doubt_all: bool = False
) -> Parting | None:
    """The first line that parts; with `doubt_all`, right arrays are said to be wrong, too."""
    packed = pack(params)
    loss(packed.unpack(packed.flat.copy()))
    given = pack_as(gradient(packed.unpack(packed.flat.copy())), packed.shapes, "gradient", paths=packed.paths)
    analytic = dict(given.arrays(given.flat))
    backward = Backward(trace(loss, params).engine, packed.flat)
    wrong = []
    for name, number in zip(packed.shapes, backward.parameters, strict=True):
        right = backward.bars.get(number, np.zeros(packed.shapes[name]))
        if doubt_all or np.abs(analytic[name] - right).max() > 1e-9 * np.abs(right).max() + 1e-13:
            wrong.append(name)
    return next(iter(parting_line(loss, gradient, packed, backward, analytic, wrong).partings), None)
