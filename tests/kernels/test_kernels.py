"""The matrix kernels, for each instruction set: exact where all products are, and the same for a row in any company."""

import numpy as np
import pytest

from gradcheck_fast.engine.layout import aligned, padded
from gradcheck_fast.kernels import _kernels

PANEL = _kernels.PANEL
pytestmark = pytest.mark.parametrize("isa", _kernels.instruction_sets())


def wide(a, b, isa):
    """a @ b by panels of 16 columns."""
    rows, (inner, columns) = len(a), b.shape
    panels = aligned(padded(columns) // PANEL, inner + 1, PANEL)[:, :inner]
    for k in range(columns):
        panels[k // PANEL, :, k % PANEL] = b[:, k]
    out = np.full((rows, padded(columns) + 8), 7.0)
    _kernels.matmul(a, panels, out[:, : padded(columns)], isa)
    assert (out[:, padded(columns) :] == 7).all(), "nothing is written beyond the panels"
    assert (out[:, columns : padded(columns)] == 0).all()
    return out[:, :columns]


def narrow(a, b, isa):
    """a @ b with the inner dimension in lanes."""
    inner, columns = b.shape
    long = [np.zeros((len(x), padded(inner))) for x in (a, b.T)]
    long[0][:, :inner], long[1][:, :inner] = a, b.T
    out = np.full((len(a), PANEL + 8), 7.0)
    _kernels.matmul_narrow(*long, out[:, :PANEL], isa)
    assert (out[:, PANEL:] == 7).all()
    assert (out[:, columns:PANEL] == 0).all()
    return out[:, :columns]


def integers(*shape):
    return np.random.default_rng(shape).integers(-9, 10, shape).astype(float)


@pytest.mark.parametrize("inner", [1, 16, 255, 900])
@pytest.mark.parametrize("rows", [1, 3, 4, 11, 12, 25, 97, 250])
def test_integer_products_are_exact(isa, rows, inner):
    for columns in (1, 16, 37):
        a, b = integers(rows, inner), integers(inner, columns)
        np.testing.assert_array_equal(wide(a, b, isa), a @ b)
    for columns in (1, 4, 5, 6, 10, 12):
        a, b = integers(rows, inner), integers(inner, columns)
        np.testing.assert_array_equal(narrow(a, b, isa), a @ b)


def test_a_matrix_too_large_for_the_caches(isa):
    a, b = integers(30, 1100), integers(1100, 800)
    np.testing.assert_array_equal(wide(a, b, isa), a @ b)


@pytest.mark.parametrize("product", [wide, narrow])
def test_a_row_does_not_depend_on_its_company(isa, product):
    random = np.random.default_rng(1)
    a, b = random.normal(size=(130, 700)), random.normal(size=(700, 11))
    together = product(a, b, isa)
    for row in (0, 5, 12, 95, 96, 129):
        assert (product(a[row : row + 1], b, isa) == together[row]).all()
    assert (product(a[3:40], b, isa) == together[3:40]).all()


def test_chains_of_multiply_adds_are_counted(isa):
    one, two = _kernels.multiply_add(10, isa, 1), _kernels.multiply_add(10, isa, 2)
    assert two == 2 * one
    assert one % 20 == 0, "two operations in each of ten turns"
