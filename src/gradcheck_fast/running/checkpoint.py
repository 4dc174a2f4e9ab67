"""Keeps what was found so far in a file, so that an interrupted run can go on from there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arrays import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.running.pieces import Range

#: The version of the file's format. It changes whenever other things are kept, or jobs are cut into other tasks.
FORMAT = "1"
#: The name of the file's entry that says to which problem it belongs.
PROBLEM = "problem"
#: How many seconds pass between two saves, at least: so much work is lost, at most, if the process is killed.
SAVE_SECONDS = 2.0
#: Which part of the time saving may take, at most. Where a save takes long, more time passes before the next one.
SAVE_PART = 0.05
#: How many characters two values that differ may have together to be shown in an error: digests are too long.
SHORT = 40
#: How many random bytes are in the name of the file that is written first, so that two runs do not write the same one.
TOKEN_BYTES = 4


class Record:
    """Knows which tasks of a job are done, and the arrays with their results.

    Parameters
    ----------
    done : ndarray of bool, shape (tasks,)
        Which tasks are done. It is changed in place.
    results : tuple of ndarray
        The arrays with the results of all tasks.
    marked : callable
        Is called whenever tasks are marked as done.
    """

    def __init__(self, done: NDArray[np.bool_], results: tuple[NDArray[Any], ...], marked: Callable[[], None]) -> None:
        self.done = done
        self.results = results
        self._marked = marked
        self._left = int(np.count_nonzero(~done))

    def missing(self) -> list[Range]:
        """Returns the ranges of tasks that are not done, in order."""
        edges = np.flatnonzero(np.diff(self.done, prepend=True, append=True)).tolist()
        return list(zip(edges[::2], edges[1::2], strict=True))

    def mark(self, begin: int, end: int) -> None:
        """Marks the tasks begin..end - 1 as done: their results are in the arrays.

        The arrays must not hold a part of the results of any other task that is not marked.
        """
        self.done[begin:end] = True
        self._left -= end - begin
        if not self._left:  # a copy is kept, for whoever asked for the results may now change them
            self.results = tuple(array.copy() for array in self.results)
        self._marked()


class Checkpoint:
    """The records of a run, kept in a file. The file is read, or written for the first time, when work begins.

    Parameters
    ----------
    path : str or PathLike
        The file, an uncompressed ``.npz`` whatever its name is. A new version is written beside it as a whole, and then
        takes its place.
    problem : mapping
        The values on which the run depends, by their names. A file with other values belongs to another problem.

    Raises
    ------
    TypeError
        If `path` is not a path.
    """

    def __init__(self, path: str | os.PathLike[str], problem: Mapping[str, str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"checkpoint: expected the path of a file, got {path!r}")
        self._path = Path(path).resolve()  # the loss may change the directory
        self._problem = {"format": FORMAT, **problem}
        self._found: dict[str, NDArray[Any]] | None = None  # in the file, and not asked for; None: not read
        self._records: dict[str, Record] = {}
        self._changed = False
        self._due = 0.0

    def record(self, what: tuple[Any, ...], tasks: int, results: tuple[NDArray[Any], ...]) -> Record:
        """Returns the record of a job, and puts what the file has of it into `results`.

        Parameters
        ----------
        what : tuple
            What tells the job from others; see `Job`.
        tasks : int
            How many tasks the job has.
        results : tuple of ndarray
            The arrays into which the tasks write.

        Raises
        ------
        ValueError
            If the file is not a checkpoint of this problem.
        OSError
            If the file cannot be read or written.
        """
        if self._found is None:
            self._found = self._read()
        key = digest(*what)
        names = [f"{key}/done", *(f"{key}/{k}" for k in range(len(results)))]
        if key in self._records:  # asked for once more
            done, kept = self._records[key].done, self._records[key].results
        elif names[0] in self._found:
            done, *arrays = (self._found.pop(name) for name in names)
            kept = tuple(arrays)
        else:
            done, kept = np.zeros(tasks, np.bool_), results
        for into, array in zip(results, kept, strict=True):
            into[...] = array
        # a copy of what is complete is kept, for whoever asked for it may change it
        self._records[key] = Record(done, kept if done.all() else results, self._mark)
        return self._records[key]

    def forget_since(self, record: Record) -> None:
        """Drops the records that were made after this one: what they found has been added to its results."""
        keys = list(self._records)
        for key in keys[list(self._records.values()).index(record) + 1 :]:
            del self._records[key]

    def save(self) -> None:
        """Writes the file, if there is something new."""
        if not self._changed:
            return
        import json  # only checkpoints wait for its import

        started = perf_counter()
        entries = {PROBLEM: np.array(json.dumps(self._problem)), **(self._found or {})}
        for key, record in self._records.items():
            entries[f"{key}/done"] = record.done
            entries.update((f"{key}/{k}", array) for k, array in enumerate(record.results))
        try:
            _write(self._path, entries)
        except OSError as error:
            raise _named(error, "written", self._path) from error
        self._changed = False
        now = perf_counter()
        self._due = now + max(SAVE_SECONDS, (now - started) / SAVE_PART)

    def _mark(self) -> None:
        self._changed = True
        if perf_counter() >= self._due:
            self.save()

    def _read(self) -> dict[str, NDArray[Any]]:
        """Returns the entries of the file. If there is no file, an empty one is written, to see whether it can be."""
        import json  # only checkpoints wait for its import

        self._due = perf_counter() + SAVE_SECONDS
        _remove_left_behind(self._path)
        try:
            with open(self._path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                entries = dict(arrays.items())
            found = json.loads(str(entries.pop(PROBLEM)))
        except FileNotFoundError:
            self._changed = True
            self.save()
            return {}
        except OSError as error:
            raise _named(error, "read", self._path) from error
        except Exception:  # what NumPy says would be advice for other kinds of files
            raise ValueError(
                f"checkpoint: {self._path} is no checkpoint of gradcheck_fast, or a damaged one; give another path, "
                "or remove it"
            ) from None
        others = [
            name if len(f"{found.get(name)}{value}") > SHORT else f"{name} ({found.get(name)} there, {value} here)"
            for name, value in self._problem.items()
            if found.get(name) != value
        ]
        if others:
            chance = " (or one that gives other values each time)" if [name[:4] for name in others] == ["loss"] else ""
            raise ValueError(
                f"checkpoint: {self._path} is of another problem, with another {', another '.join(others)}{chance}; "
                "give another path, or remove it"
            )
        return entries


def _write(path: Path, entries: Mapping[str, NDArray[Any]]) -> None:
    """Writes the whole file, or leaves the old one as it is; another run may be writing the same file."""
    beside = path.with_name(f"{path.name}.{os.urandom(TOKEN_BYTES).hex()}.tmp")
    try:
        with open(beside, "xb") as file:
            np.savez(file, **entries)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(beside, path)
        except FileNotFoundError:  # another run has just begun, and has removed it as one that was left behind
            _write(path, entries)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _remove_left_behind(path: Path) -> None:
    """Removes the files that runs have left beside this one because they were killed while they wrote."""
    for beside in path.parent.glob(f"{escape(path.name)}.{'[0-9a-f]' * (2 * TOKEN_BYTES)}.tmp"):
        with suppress(OSError):
            beside.unlink()


def _named(error: OSError, what: str, path: Path) -> OSError:
    """Makes an error that says that the checkpoint cannot be "read" or "written", as `what` says."""
    return OSError(error.errno, f"checkpoint: it cannot be {what}: {error.strerror or error}", str(path))
