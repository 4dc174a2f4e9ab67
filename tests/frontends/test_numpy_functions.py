"""What a trace knows of NumPy and SciPy, function by function: each call as people write it, compared with NumPy."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import BuiltinFunctionType

import numpy as np
import numpy_calls
import pytest
from numpy_calls import elementwise, methods, operators, python, scipy_special
from numpy_calls.observed import check

from gradcheck_fast.frontends.numpy_trace import complex_functions, ufuncs
from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.functions import FUNCTIONS, SCIPY

TABLES = {
    "ufunc": elementwise.UFUNCS, "operator": operators.OPERATORS, "function": numpy_calls.FUNCTIONS,
    "method": methods.METHODS, "python": python.PYTHON, "scipy": scipy_special.SCIPY,
}  # fmt: skip
#: What one step does by itself in the program: no function of these is composed, and none is differenced.
OPAQUE = {
    np.frexp, np.nextafter, np.spacing, np.i0, np.unwrap, np.pad, np.gradient, np.quantile, np.linalg.norm,
    np.linalg.pinv, np.linalg.eigvalsh, np.linalg.svd, "gamma", "i0e",
}  # fmt: skip


def name_of(what):
    return what if isinstance(what, str) else getattr(what, "__name__", str(what))


CASES = [
    pytest.param(what, call, id=f"{kind} {name_of(what)} {k}")
    for kind, table in TABLES.items()
    for what, calls in table.items()
    for k, call in enumerate(calls)
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("what", "call"), CASES)
def test_a_call_is_recorded_as_numpy_computes_it(what, call):
    found = check(call)
    steps = {step.name for step in found.program.steps} if found.program is not None else set()
    assert "opaque" not in steps or what in OPAQUE
    assert ("opaque" in steps) == bool([note for note in found.notes if "differenced by itself" in note])


def test_every_function_that_is_known_has_a_row():
    assert set(FUNCTIONS) <= set(TABLES["function"])


def test_every_ufunc_that_is_known_has_a_row():
    known = {*ufuncs.PRIMITIVE_OF, *ufuncs.COMPOSITE, *ufuncs._LOGICAL, *ufuncs._PLAIN, *SCIPY}
    rows = {name_of(what) for kind in ("ufunc", "scipy") for what in TABLES[kind]}
    of_numpy = {name for name in known if hasattr(np, name)}
    assert of_numpy - {"true_divide", "vecdot", "matvec", "vecmat"} <= rows
    if scipy_special.SCIPY:
        assert {name for name in known - of_numpy if hasattr(scipy_special.sp, name)} <= rows


def test_every_method_of_arrays_has_a_row_or_says_that_it_is_not_known():
    public = {name for name in dir(np.ndarray) if not name.startswith("_")}
    unknown = {
        "byteswap", "ctypes", "data", "dump", "dumps", "getfield", "resize", "setfield", "to_device", "tobytes",
        "tofile",
    }  # fmt: skip
    assert public - unknown <= set(TABLES["method"])
    assert not {name for name in unknown if hasattr(TracedArray, name)}


def test_every_operator_of_arrays_has_a_row():
    bitwise = {"lshift", "rshift"}  # of integers
    operators = {name[2:-2] for name in dir(np.ndarray) if name.startswith("__")}
    operators = {name.removeprefix("i") if name[:1] == "i" and name != "invert" else name for name in operators}
    names = {
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "matmul",
        "and",
        "or",
        "xor",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
        "neg",
        "pos",
        "abs",
        "invert",
        "divmod",
    }
    assert names == (operators & (names | bitwise)) - bitwise
    assert names <= set(TABLES["operator"])


def test_at_least_150_functions_of_numpy_are_known():
    outside = {f for f in FUNCTIONS if getattr(np.linalg, f.__name__, None) is f or isinstance(f, BuiltinFunctionType)}
    assert len(set(FUNCTIONS) - outside) >= 150


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.3.0" or not scipy_special.SCIPY, reason="has fewer functions"
)
def test_the_table_in_the_documentation_is_up_to_date():
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "traced_functions.py"))
    assert tool["FILE"].read_text() == tool["text"](), "run tools/traced_functions.py"


@pytest.mark.parametrize("known", [FUNCTIONS, SCIPY, complex_functions.FUNCTIONS])
def test_what_is_known_of_functions_can_only_be_read(known):
    with pytest.raises(TypeError, match="does not support item assignment"):
        known[np.sort] = None
