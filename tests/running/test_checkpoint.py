"""An interrupted run goes on from its checkpoint, to the same result to the last bit."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from functions import Counted
from work import METHODS, PARAMS, Stopped, function, make_network, stop_after

import gradcheck_fast as gf
from gradcheck_fast.cli.main import main
from gradcheck_fast.engine import chain
from gradcheck_fast.engine import engine as methods
from gradcheck_fast.running import checkpoint

counted = partial(Counted, function)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


# ---- going on


@pytest.mark.parametrize("reports", [1, 2, 4])
@pytest.mark.parametrize("method", METHODS)
def test_a_network_s_run_goes_on_to_the_same_result(method, reports, path, eager, monkeypatch):
    monkeypatch.setattr(methods, "FEWEST_SAMPLES", 8)
    monkeypatch.setattr(methods, "CHUNK_DOUBLES", 1)  # chunks of eight samples
    monkeypatch.setattr(chain, "FEWEST_SAMPLES", 2)
    monkeypatch.setattr(chain, "CHUNK_DOUBLES", 1)
    loss, params = make_network(samples=37)
    expected = gf.numerical_gradient(loss, params, method=method, error_bars=True)
    options = {"method": method, "error_bars": True, "checkpoint": path}
    # a chain is done in few pieces, each with as many shares of the samples as take no time
    count = min(reports, 2) if method == "chain" else reports
    with pytest.raises(Stopped):
        gf.numerical_gradient(loss, params, **options, progress=stop_after(count))
    seen = []
    found = gf.numerical_gradient(loss, params, **options, progress=seen.append)
    np.testing.assert_equal(found, expected)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    np.testing.assert_equal(gf.numerical_gradient(loss, params, **options), expected)


@pytest.mark.parametrize("executor", [None, "threads"])
def test_a_function_s_run_goes_on_where_it_was(executor, path, eager):
    loss = counted()
    expected = gf.numerical_gradient(loss, PARAMS, method="direct")
    in_all, loss.calls = loss.calls, 0
    with ThreadPoolExecutor(1) as threads:
        options = {"method": "direct", "checkpoint": path, "executor": threads if executor else None}
        for reports in (1, 2, 1):
            with pytest.raises(Stopped):
                gf.numerical_gradient(loss, PARAMS, **options, progress=stop_after(reports))
        found = gf.numerical_gradient(loss, PARAMS, **options)
    np.testing.assert_equal(found, expected)
    if not executor:
        assert loss.calls == in_all + 3 * 3 + 2, "nothing was done twice, but for the values by which it is known"


def test_the_call_that_is_done_returns_at_once(path):
    loss = counted()
    first = gf.numerical_gradient(loss, PARAMS, checkpoint=path, error_bars=True, trace=False)
    in_all, loss.calls = loss.calls, 0
    second = gf.numerical_gradient(loss, PARAMS, checkpoint=path, error_bars=True, trace=False)
    np.testing.assert_equal(first, second)
    assert loss.calls < 0.2 * in_all, "only what is not done entry by entry"


def test_what_is_asked_for_twice_is_done_once(path):
    kept, first, second = checkpoint.Checkpoint(path, {}), np.zeros(3), np.zeros(3)
    record = kept.record(("job", 1.0), 3, (first,))
    first[:2] = 1.0, 2.0
    record.mark(0, 2)
    assert kept.record(("job", 1.0), 3, (second,)).missing() == [(2, 3)]
    np.testing.assert_array_equal(second, [1.0, 2.0, 0.0])
    assert kept.record(("job", 2.0), 3, (second,)).missing() == [(0, 3)]


def test_another_gradient_is_checked_with_what_is_there(path):
    loss = counted()
    right = gf.numerical_gradient(loss, PARAMS, trace=False)
    wrong = {**right, "w": 2 * right["w"]}
    assert not gf.gradcheck(loss, wrong, PARAMS, checkpoint=path, trace=False)
    loss.calls = 0
    assert gf.gradcheck(loss, right, PARAMS, checkpoint=str(path), trace=False)
    assert loss.calls < 10


def test_a_network_s_second_run_is_kept_beside_the_first(path):
    loss, params = make_network()
    right = gf.numerical_gradient(loss, params)
    wrong = {**right, "W1": 2 * right["W1"]}
    for _ in range(2):
        assert gf.gradcheck(loss, right, params, checkpoint=path)
        assert not gf.gradcheck(loss, wrong, params, checkpoint=path)


def test_what_the_caller_does_with_the_result_does_not_change_the_checkpoint(path, eager):
    loss, params = make_network()
    first = gf.numerical_gradient(loss, params, checkpoint=path)
    expected = first["W1"].copy()
    first["W1"][...] = 7.0
    again = gf.numerical_gradient(loss, params, checkpoint=path)
    again["W1"][...] = 7.0
    np.testing.assert_array_equal(gf.numerical_gradient(loss, params, checkpoint=path)["W1"], expected)


def test_chunks_that_were_added_up_are_not_kept(path, eager, monkeypatch):
    """The file grows with the parameters, not with the samples."""
    monkeypatch.setattr(methods, "CHUNK_DOUBLES", 1)
    sizes = []
    for samples in (48, 480):
        loss, params = make_network(samples)
        gf.numerical_gradient(loss, params, method="units", checkpoint=path.with_suffix(f".{samples}"))
        sizes.append(path.with_suffix(f".{samples}").stat().st_size)
    assert sizes[1] < sizes[0] + 100


def test_it_is_saved_every_two_seconds_or_as_often_as_takes_a_twentieth_of_the_time(path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoint, "perf_counter", lambda: clock[0])
    saves, write = [], checkpoint._write

    def slow_write(*arguments):
        write(*arguments)
        clock[0] += 0.3
        saves.append(clock[0])

    monkeypatch.setattr(checkpoint, "_write", slow_write)
    kept = checkpoint.Checkpoint(path, {})
    record = kept.record(("job",), 100, (np.zeros(100),))
    for k in range(40):
        clock[0] += 0.5
        record.mark(k, k + 1)
    assert np.diff(saves) == pytest.approx([6.3, 6.3, 6.3], abs=0.5)


def test_the_command_line_takes_a_checkpoint(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("loss = lambda x: x**2\nparams = 3.0\ngradient = 6.0\n")
    arguments = ["check", str(tmp_path / "mine.py"), "--checkpoint", str(tmp_path / "run.npz")]
    assert main(arguments) == 0
    assert (tmp_path / "run.npz").exists()
    (tmp_path / "run.npz").write_text("something else")
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("gradcheck-fast: checkpoint: ")


# ---- other problems


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "units"}, r"another method \(direct there, units here\)"),
        ({"step": 1e-3}, r"another step \(None there, 0\.001 here\)"),
        ({"loss": make_network(factor=2.0)[0]}, "another loss "),
        ({"params": {k: 2 * v for k, v in make_network()[1].items()}}, "another value of the parameters;"),
        ({"loss": counted(), "params": PARAMS}, "another loss, another form of the parameters, another value of the"),
    ],
)
def test_a_checkpoint_of_another_problem_is_refused(change, message, path):
    loss, params = make_network()
    problem = {"loss": loss, "params": params, "method": "direct", "step": None}
    gf.numerical_gradient(**problem, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"^checkpoint: .*run\.npz is of another problem, with {message}"):
        gf.numerical_gradient(**{**problem, **change}, checkpoint=path)
    assert path.read_bytes() == before


def test_a_function_with_another_value_is_another_problem(path):
    gf.numerical_gradient(lambda x: x**2, 1.5, checkpoint=path, trace=False)
    with pytest.raises(ValueError, match="with another loss"):
        gf.numerical_gradient(lambda x: x**2 + 1e-15, 1.5, checkpoint=path, trace=False)


def test_bad_arguments_leave_no_file(path):
    loss, params = make_network()
    for bad in ({"method": "unit"}, {"step": -1.0}, {"n_threads": 0}, {"executor": 3}):
        with pytest.raises((TypeError, ValueError)):
            gf.numerical_gradient(loss, params, **bad, checkpoint=path)
        assert not path.exists()


# ---- files


def npy(path):
    with open(path, "wb") as file:
        np.save(file, np.ones(3))


def other_npz(path):
    with open(path, "wb") as file:
        np.savez(file, a=np.ones(3))


def truncated(path):
    gf.numerical_gradient(counted(), PARAMS, checkpoint=path, trace=False)
    path.write_bytes(path.read_bytes()[:-30])


def damaged(path):
    gf.numerical_gradient(counted(), PARAMS, checkpoint=path, trace=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "write", [Path.touch, lambda path: path.write_text("results: 3"), npy, other_npz, truncated, damaged]
)
def test_a_file_that_is_no_checkpoint_is_left_alone(write, path):
    write(path)
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"^checkpoint: .*run\.npz is no checkpoint of gradcheck_fast, or a damag"
    ) as error:
        gf.numerical_gradient(counted(), PARAMS, checkpoint=path, trace=False)
    assert "give another path, or remove it" in str(error.value)
    assert "pickle" not in "".join(traceback.format_exception(error.value))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["run.npz"]


@pytest.mark.parametrize("bad", [3, True, b"run.npz", ["run.npz"]], ids=repr)
def test_a_checkpoint_is_a_path(bad):
    with pytest.raises(TypeError, match=r"^checkpoint: expected the path of a file, got"):
        gf.numerical_gradient(counted(), PARAMS, checkpoint=bad, trace=False)


def test_a_directory_that_does_not_exist(path):
    loss = counted()
    with pytest.raises(FileNotFoundError, match=r"checkpoint: it cannot be written: No such file .*missing.*run\.npz"):
        gf.numerical_gradient(loss, PARAMS, checkpoint=path.parent / "missing" / "run.npz", trace=False)
    assert loss.calls == 3, "it fails before the work, not after"


def test_a_directory_instead_of_a_file(tmp_path):
    with pytest.raises(IsADirectoryError, match="checkpoint: it cannot be read: Is a directory"):
        gf.numerical_gradient(counted(), PARAMS, checkpoint=tmp_path, trace=False)


def test_a_disk_that_fills_up(path, eager, monkeypatch):
    """What was saved before is still good, and nothing else is left."""
    loss, before = counted(), PARAMS["w"].copy()
    writes, fsync = count(1), os.fsync

    def full(file):
        if next(writes) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"checkpoint: it cannot be written: No space left on device: '.*run\.npz'"):
        gf.numerical_gradient(loss, PARAMS, checkpoint=path, trace=False)
    assert os.listdir(path.parent) == ["run.npz"]
    np.testing.assert_array_equal(PARAMS["w"], before)
    found = gf.numerical_gradient(loss, PARAMS, checkpoint=path, trace=False)
    np.testing.assert_equal(found, gf.numerical_gradient(loss, PARAMS, trace=False))


def test_the_file_is_put_in_place_as_a_whole(path, eager, monkeypatch):
    gf.numerical_gradient(counted(), PARAMS, method="direct", checkpoint=path)
    before = path.read_bytes()

    def refuse(source, target):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match=r"checkpoint: it cannot be written: Permission denied: '.*run\.npz'"):
        gf.numerical_gradient(counted(), PARAMS, method="direct", error_bars=True, checkpoint=path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["run.npz"]


def test_two_runs_that_write_one_file_at_once_leave_it_whole(path, eager, monkeypatch):
    """While the first run writes, a second one begins, goes on from the file, and ends."""
    savez, writes = np.savez, []

    def interrupted(file, **entries):
        savez(file, **entries)
        writes.append(file.name)
        if len(writes) == 2:
            np.testing.assert_equal(run(checkpoint=path), expected)

    run = partial(gf.numerical_gradient, counted(), PARAMS, method="direct")
    expected = run()
    monkeypatch.setattr(np, "savez", interrupted)
    np.testing.assert_equal(run(checkpoint=path), expected)
    assert len(set(writes)) == len(writes) > 4
    np.testing.assert_equal(run(checkpoint=path), expected)
    assert os.listdir(path.parent) == ["run.npz"]


def test_what_a_killed_run_left_beside_the_file_is_removed_and_nothing_else(path):
    left, others = path.with_name("run.npz.0123abcd.tmp"), [path.with_name(n) for n in ("run.npz.old.tmp", "run.tmp")]
    for file in (left, *others):
        file.touch()
    gf.numerical_gradient(counted(), PARAMS, checkpoint=path, trace=False)
    assert sorted(path.parent.iterdir()) == sorted([path, *others])


def test_a_disk_that_is_full(tmp_path, eager):
    if (
        not shutil.which("mount")
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a small file system")
    try:
        loss, params = lambda x: float(x.sum()), np.ones(100_000)
        with pytest.raises(OSError, match=r"checkpoint: it cannot be written: No space left on device: '.*run\.npz'"):
            gf.numerical_gradient(loss, params, checkpoint=tmp_path / "run.npz")
        assert (params == 1.0).all()
        assert not list(tmp_path.glob("*.tmp"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_function_with_the_same_value_at_the_parameters_is_another_problem(path):
    gf.numerical_gradient(lambda x: np.sum(x**2), np.zeros(5), checkpoint=path, trace=False)
    with pytest.raises(ValueError, match="with another loss"):
        gf.numerical_gradient(lambda x: np.sum(3.0 * x), np.zeros(5), checkpoint=path, trace=False)


def test_a_loss_that_changes_the_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    calls = count(1)

    def wanders(x):
        if next(calls) > 3:  # when the run has begun
            os.chdir(tmp_path / "elsewhere")
        return float(np.sum(x**2))

    gf.numerical_gradient(wanders, np.ones(3), checkpoint="run.npz", trace=False)
    assert (tmp_path / "run.npz").exists()
    assert not os.listdir(tmp_path / "elsewhere")


def test_a_run_that_is_done_starts_nothing_and_the_step_is_the_same_number(tmp_path):
    loss, x = lambda p: float(np.sum(p**2)), np.ones(4)
    kept = {"method": "direct", "checkpoint": tmp_path / "c.npz"}
    expected = gf.numerical_gradient(loss, x, step=1.0, **kept)
    fail = lambda: pytest.fail("an executor was made")
    np.testing.assert_array_equal(gf.numerical_gradient(loss, x, step=1, executor=fail, **kept), expected)


def test_a_loss_that_gives_other_values_each_time_has_no_checkpoint_to_go_on_from(tmp_path):
    random = np.random.default_rng(0)
    loss, x = lambda p: float(np.sum(p**2) + 1e-6 * random.normal()), np.ones(3)
    gf.gradcheck(loss, 2 * x, x, checkpoint=tmp_path / "c.npz", trace=False)
    with pytest.raises(ValueError, match=r"another loss.* \(or one that gives other values each time\); give another"):
        gf.gradcheck(loss, 2 * x, x, checkpoint=tmp_path / "c.npz", trace=False)
