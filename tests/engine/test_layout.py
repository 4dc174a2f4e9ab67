"""Where the parameters lie: in panels, transposed where they are narrow, with the sums of squares of their rows."""

import numpy as np
import pytest

from gradcheck_fast.engine import _packing
from gradcheck_fast.engine.layout import aligned, padded, spread
from gradcheck_fast.engine.routes import Routes
from gradcheck_fast.engine.rows import lower
from gradcheck_fast.engine.tables import Tables
from gradcheck_fast.kernels._kernels import PANEL
from gradcheck_fast.program.program import Program

SAMPLES = 3


class TestPacking:
    COLUMNS = (1, 10, 15, 16, 17, 28, 33)
    ROWS = (1, 2, 5, 70)

    @pytest.fixture(params=[*COLUMNS, COLUMNS], ids=lambda value: f"columns={value}")
    def packing(self, request):
        """A program in which every array multiplies a difference, and its flat and packed parameters."""
        program = Program(SAMPLES)
        step = {rows: program.affine([], program.parameter((rows,))) for rows in self.ROWS}
        for columns in np.atleast_1d(request.param):
            for rows in self.ROWS:
                matrix = program.parameter((rows, int(columns)))
                product, target = program.affine([(step[rows], matrix)]), program.target(int(columns))
                program.cost("squared_error", product, target, constant=1.0)
        tables = Tables(lower(program))
        theta = 1.0 + np.arange(program.size)
        packed = aligned(tables.packing.size)
        _packing.pack(Routes(tables).compile("baseline"), tables.packing.tasks, theta, packed, 1)
        return tables, theta, packed

    def test_positions_say_where_each_entry_lies(self, packing):
        tables, theta, packed = packing
        positions = tables.packing.positions(tables.rows.size)
        assert (packed[positions] == theta).all()
        assert len(set(positions.tolist())) == tables.rows.size

    def test_sixteen_columns_of_a_row_lie_side_by_side_on_cache_lines_and_zeros_follow(self, packing):
        tables, _, packed = packing
        assert packed.ctypes.data % 64 == 0
        for p in tables.rows.parameters:
            at = p.of(tables.packing.positions(tables.rows.size))
            assert (at[:, ::PANEL] % PANEL == 0).all()
            assert (np.diff(at[:, :PANEL], axis=1) == 1).all()
            for last in at[:, -1]:
                assert (packed[last + 1 : last - last % PANEL + PANEL] == 0).all()

    def test_narrow_last_panels_lie_there_transposed_too(self, packing):
        tables, theta, packed = packing
        transposed = 0
        for p, block in zip(tables.rows.parameters, tables.packing.table, strict=True):
            if block["narrow"] < 0:
                continue
            last = p.of(theta)[:, (p.panels - 1) * PANEL :]
            rows = packed[block["narrow"] :][: last.shape[1] * block["narrow_row"]].reshape(-1, block["narrow_row"])
            assert (rows[:, : p.rows] == last.T).all()
            assert (rows[:, p.rows :] == 0).all()
            transposed += 1
        columns = {p.columns for p in tables.rows.parameters if p.rows == 70}
        assert transposed == len(columns & {1, 10, 17, 28, 33})

    def test_the_squares_of_each_row_are_added_up(self, packing):
        tables, theta, packed = packing
        for p, block in zip(tables.rows.parameters, tables.packing.table, strict=True):
            if block["squares"] >= 0:
                squares = packed[block["squares"] :][: p.rows]
                np.testing.assert_allclose(squares, (p.of(theta) ** 2).sum(axis=1), rtol=1e-14)


class TestAlignment:
    @pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 16), (0,)])
    def test_arrays_begin_on_a_cache_line(self, shape):
        array = aligned(*shape)
        assert array.shape == shape
        assert array.flags.c_contiguous
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert (array == 0.0).all()

    @pytest.mark.parametrize(("width", "panels"), [(1, 1), (16, 1), (17, 2), (160, 10)])
    def test_widths_are_padded_to_whole_panels(self, width, panels):
        assert padded(width) == panels * PANEL

    def test_rows_never_lie_a_multiple_of_the_cache_apart(self):
        assert all(spread(doubles) % 64 != 0 and 0 <= spread(doubles) - doubles <= 8 for doubles in range(16, 2048, 16))
