"""check_jacobian with sparse Jacobians: what is stored, and what should be."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

TRACED = pytest.mark.parametrize("trace", [True, False])
SIZE = 200
AT = np.random.default_rng(0).normal(size=SIZE)


class Coordinates:
    """A sparse matrix that can do no more than is asked of one."""

    def __init__(self, row, col, data, shape):
        self.row, self.col, self.data, self.shape = row, col, data, shape

    def tocoo(self):
        return self


def band(x):
    return np.sin(x) + np.concatenate([[0.0], x[:-1] * x[1:]])


def band_jacobian(x):
    diagonal, below = np.cos(x), x[1:].copy()
    diagonal[1:] += x[:-1]
    every = np.arange(len(x))
    rows, columns = np.concatenate([every, every[1:]]), np.concatenate([every, every[:-1]])
    return Coordinates(rows, columns, np.concatenate([diagonal, below]), (len(x), len(x)))


@TRACED
def test_a_right_one_passes_in_a_few_evaluations(trace):
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return band(x)

    report = gf.check_jacobian(counted, band_jacobian, AT, trace=trace)
    assert report.ok
    assert calls < SIZE  # and not several for each of 200 inputs
    assert report.checked == 2 * SIZE - 1
    assert "in 2 groups of inputs and along 3 random directions" in report.coverage


@TRACED
def test_a_wrong_stored_entry_is_found_at_its_place(trace):
    wrong = band_jacobian(AT)
    wrong.data[SIZE + 4] *= 1.0001
    report = gf.check_jacobian(band, wrong, AT, trace=trace)
    assert report.wrong == 1
    assert report.worst()[0][:2] == ("output by inputs", (5, 4))


@TRACED
def test_entries_that_are_not_stored_are_found_and_do_not_make_others_wrong(trace):
    more = lambda x: band(x) + 1e-3 * np.concatenate([[x[7] * x[9]], np.zeros(SIZE - 1)])
    report = gf.check_jacobian(more, band_jacobian, AT, trace=trace)
    assert {entry.index for entry in report.worst(report.wrong)} == {(0, 7), (0, 9)}
    assert all(entry.analytic == 0.0 for entry in report.worst(2))
    assert report.notes[0].startswith("2 entries that are not stored are not zero")


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.long) for k in range(1, 20))])
def test_entries_that_cancel_in_a_group_are_seen_along_random_directions(seed):
    # inputs 10 and 12 share no stored row, so that they are moved together: what they add cancels
    more = lambda x: band(x) + np.concatenate([np.zeros(100), [0.5 * (x[10] - x[12])], np.zeros(SIZE - 101)])
    report = gf.check_jacobian(more, band_jacobian, AT, seed=seed)
    assert {entry.index for entry in report.worst(report.wrong)} == {(100, 10), (100, 12)}


def test_an_empty_column_is_looked_at():
    x = np.array([1.0, 2.0, 3.0])
    f = lambda x: np.array([x[0] ** 2, x[1] * x[2]])
    stored = Coordinates([0, 1], [0, 1], [2.0, 3.0], (2, 3))
    report = gf.check_jacobian(f, stored, x)
    assert [(entry.index, entry.numerical) for entry in report.worst(report.wrong)] == [((1, 2), 2.0)]


def test_entries_that_are_stored_twice_add_up():
    f, x = lambda x: 3.0 * x, np.array([1.0, 2.0])
    assert gf.check_jacobian(f, Coordinates([0, 1, 0], [0, 1, 0], [1.0, 3.0, 2.0], (2, 2)), x).ok


def test_the_transpose_is_diagnosed_without_a_look_at_every_entry():
    own = band_jacobian(AT)
    turned = Coordinates(own.col, own.row, own.data, own.shape)
    report = gf.check_jacobian(band, turned, AT)
    assert report.diagnoses[0].cause.startswith("it is the transpose")
    assert any("were not looked at one by one" in note for note in report.notes)


def test_blocks_may_be_sparse_or_dense():
    a = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    f = lambda x, y: a @ x + y**2
    x, y = np.ones(3), np.array([1.0, 4.0])
    stored = Coordinates([0, 0, 1], [0, 2, 1], [1.0, 2.0, 3.0], (2, 3))
    report = gf.check_jacobian(f, (stored, np.diag(2.0 * y)), (x, y))
    assert report.ok
    assert [array.name for array in report.arrays] == ["output by inputs[0]", "output by inputs[1]"]
    wrong = np.diag(2.0 * y + [0.0, 1.0])
    report = gf.check_jacobian(f, (stored, wrong), (x, y))
    assert report.worst()[0][:2] == ("output by inputs[1]", (1, 1))


def test_matrices_of_scipy():
    sparse = pytest.importorskip("scipy.sparse")
    own = band_jacobian(AT)
    for form in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        assert gf.check_jacobian(band, form((own.data, (own.row, own.col)), shape=own.shape), AT).ok


def test_sparse_hessians():
    sparse = pytest.importorskip("scipy.sparse")
    x = AT[:40]
    loss = lambda x: np.sum(np.sin(x)) + np.sum(x[1:] * x[:-1] ** 2)

    def hessian(x):
        diagonal = -np.sin(x)
        diagonal[:-1] += 2.0 * x[1:]
        return sparse.diags([diagonal, 2.0 * x[:-1], 2.0 * x[:-1]], [0, 1, -1]).tocsr()

    assert gf.check_hessian(loss, hessian, x).ok
    assert gf.check_hessian(loss, hessian, x[:6], trace=False).ok
    wrong = hessian(x).tolil()
    wrong[7, 8] *= 1.0001
    assert gf.check_hessian(loss, wrong, x).worst()[0].index == (7, 8)


def test_its_report_can_be_saved_with_the_indices_of_the_whole(tmp_path):
    wrong = band_jacobian(AT)
    wrong.data[SIZE + 4] *= 1.0001
    report = gf.check_jacobian(band, wrong, AT, error_bars=True)
    report.save(tmp_path / "report.html")
    assert "output by inputs[5, 4]" in (tmp_path / "report.html").read_text()
    assert report.to_dict()["worst"][0]["index"] == [5, 4]
    assert 0.0 <= report.bar_of(report.worst()[0]) < 1e-9


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"J: expected the shape \(200, 200\).*got \(3, 200\)"):
        gf.check_jacobian(band, Coordinates([0], [0], [1.0], (3, SIZE)), AT)


@pytest.mark.parametrize("index", [(0, 0), (7, 8), (29, 29)])
def test_a_diagnosis_names_an_entry_by_its_index_in_the_jacobian(index):
    sparse, n = pytest.importorskip("scipy.sparse"), 30
    right = sparse.diags([np.ones(n - 1), np.full(n, 2.0), np.ones(n - 1)], [-1, 0, 1]).tocsr()
    wrong = right.tolil()
    wrong[index] = 0.0
    report = gf.check_jacobian(lambda x: right @ x, wrong.tocsr(), np.arange(n) * 1.0)
    assert report.worst()[0].index == index
    assert report.diagnoses[0].cause == f"entry [{index[0]}, {index[1]}] of output by inputs is left out: zero"
