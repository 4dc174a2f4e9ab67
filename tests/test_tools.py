"""What the build makes of the sources: Cython's declarations of the kernels, and the stubs of compiled modules."""

import runpy
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"

HEADER = """
#define WIDTH 16 /* of a panel */
/* two numbers */
typedef struct {
    ptrdiff_t count, capacity;
    const double *values; /* a comment; with a semicolon */
    double kink[2];
    int is_smooth;
    void (*value)(ptrdiff_t n, const double *x,
                  double *y);
} pair;
const pair *pair_for(const char *name);
extern const char *const names[];
"""
DECLARED = """cdef extern from "kernels.h" nogil:
    enum:
        WIDTH

    ctypedef struct pair:
        Py_ssize_t count, capacity
        const double *values
        double kink[2]
        bint is_smooth
        void (*value)(Py_ssize_t n, const double *x, double *y) noexcept nogil

    const pair *pair_for(const char *name) noexcept nogil
    const char **names
"""


def test_the_header_is_declared():
    assert runpy.run_path(str(TOOLS / "declare_kernels.py"))["declarations"](HEADER) == DECLARED


SOURCE = '''"""A module."""
from gradcheck_fast.engine._program cimport (
    NOTHING, CompiledProgram)

SIZE: int = 3
_HIDDEN: int = 4


class Known(NamedTuple):
    """A tuple."""

    place: int
    sizes: tuple[float, ...]


cdef class Table:
    """A table."""
    cdef double[::1] _own
    cdef readonly object rows  # is an NDArray[np.float64]

    def __init__(self, CompiledProgram program, const double[:, ::1] rows, Py_ssize_t count=3):
        pass


def run(Table table, const Row[::1] rows, double[::1] out, str name, bint fast,
        const Py_ssize_t[::1] chosen=None) -> tuple[float, int]:
    return 0.0, 1


def _helper(x):
    pass


cdef int inner(int k):
    return k
'''
DECLARATIONS = """cpdef enum Kind:  # of a row
    FIRST = 0
    SECOND = 1

cpdef enum:
    NOTHING = -1

cdef class Table:
    cdef readonly Py_ssize_t begin, count
"""
STUB = """from enum import IntEnum
from typing import NamedTuple
import numpy as np
from numpy.typing import NDArray
from gradcheck_fast.engine._program import CompiledProgram

class Kind(IntEnum):
    FIRST = 0
    SECOND = 1
NOTHING: int
class Known(NamedTuple):
    place: int
    sizes: tuple[float, ...]

class Table:
    @property
    def begin(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def rows(self) -> NDArray[np.float64]: ...
    def __init__(self, program: CompiledProgram, rows: NDArray[np.float64], count: int = 3) -> None: ...

SIZE: int
def run(table: Table, rows: NDArray[np.void], out: NDArray[np.float64], name: str, fast: bool, \
chosen: NDArray[np.intp] | None = None) -> tuple[float, int]: ...
"""


def test_the_stub_of_a_module():
    assert runpy.run_path(str(TOOLS / "write_stubs.py"))["stub"](SOURCE, DECLARATIONS) == STUB


@pytest.mark.parametrize("directory", [None, "stubs"])
def test_stubs_are_written_beside_their_sources_or_elsewhere(directory, tmp_path, monkeypatch):
    package = tmp_path / "package" / "inner"
    package.mkdir(parents=True)
    (package / "_module.pyx").write_text("def f(double x) -> float:\n    return x\n")
    (package / "_empty.pyx").write_text("cdef int g():\n    return 1\n")
    target = tmp_path / directory if directory else tmp_path / "package"
    arguments = ["write_stubs.py", str(tmp_path / "package")] + [str(target)] * bool(directory)
    monkeypatch.setattr("sys.argv", arguments)
    runpy.run_path(str(TOOLS / "write_stubs.py"), run_name="__main__")
    written = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.pyi"))
    assert written == ["inner/_empty.pyi", "inner/_module.pyi"]  # a module without a stub would be unknown to mypy
    assert "def f(x: float) -> float: ..." in (target / "inner" / "_module.pyi").read_text()
