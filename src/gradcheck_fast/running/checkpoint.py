"""What was found so far, in a file: an interrupted run goes on from there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arrays import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.running.pieces import Range

#: Changes with what is kept, and with how jobs are cut into tasks.
FORMAT = "1"
#: The entry that says of which problem a checkpoint is.
PROBLEM = "problem"
#: Saved so often, or less, for it shall take no more than this part of the time.
SAVE_SECONDS, SAVE_PART = 2.0, 0.05
#: Longer values are not shown where they differ.
SHORT = 40


class Record:
    """Which tasks of a job are done, and the arrays with what they gave."""

    def __init__(self, done: NDArray[np.bool_], results: tuple[NDArray[Any], ...], marked: Callable[[], None]) -> None:
        self.done = done
        self.results = results
        self._marked = marked
        self._left = int(np.count_nonzero(~done))

    def missing(self) -> list[Range]:
        """What is not done."""
        edges = np.flatnonzero(np.diff(self.done, prepend=True, append=True)).tolist()
        return list(zip(edges[::2], edges[1::2], strict=True))

    def mark(self, begin: int, end: int) -> None:
        """Some tasks are done: their results are in the arrays, and of those that are not no part is."""
        self.done[begin:end] = True
        self._left -= end - begin
        if not self._left:  # whoever asked for the results may now change them, and they are to be kept
            self.results = tuple(array.copy() for array in self.results)
        self._marked()


class Checkpoint:
    """The records of a run, kept in a file. It is read, or first written, when work begins.

    Parameters
    ----------
    path : str or PathLike
        An uncompressed ``.npz`` file, whatever its name is. Written as a whole beside it, and then put in its place.
    problem : mapping
        What the run depends on, name by name: a file with other values is another problem's.

    Raises
    ------
    TypeError
        If `path` is no path.
    """

    def __init__(self, path: str | os.PathLike[str], problem: Mapping[str, str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"checkpoint: expected the path of a file, got {path!r}")
        self._path = Path(path).resolve()  # the loss may change the directory
        self._problem = {"format": FORMAT, **problem}
        self._found: dict[str, NDArray[Any]] | None = None  # in the file, and not asked for yet
        self._records: dict[str, Record] = {}
        self._changed = False
        self._due = 0.0

    def record(self, what: tuple[Any, ...], tasks: int, results: tuple[NDArray[Any], ...]) -> Record:
        """The record of a job; what the file has of it is put into `results`.

        Raises
        ------
        ValueError
            If the file is not a checkpoint of this problem.
        OSError
            If it cannot be read or written.
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
        # of what is complete a copy is kept: whoever asked for it may change it
        self._records[key] = Record(done, kept if done.all() else results, self._mark)
        return self._records[key]

    def forget_since(self, record: Record) -> None:
        """Drops the later records: what they found has been added to the results of this one."""
        keys = list(self._records)
        for key in keys[list(self._records.values()).index(record) + 1 :]:
            del self._records[key]

    def save(self) -> None:
        """Writes the file, if there is something new."""
        if not self._changed:
            return
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
        """What the file has; a new file, written to see whether it can be, has nothing."""
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
        except Exception:  # whatever NumPy says to it: that would be advice for other files
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
    """Writes a file that is complete, or none; another run may be writing the same."""
    beside = path.with_name(f"{path.name}.{token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as file:
            np.savez(file, **entries)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(beside, path)
        except FileNotFoundError:  # another run that began just now took it for one left behind
            _write(path, entries)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _remove_left_behind(path: Path) -> None:
    """Removes what runs that were killed while they wrote have left beside a file."""
    for beside in path.parent.glob(f"{escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        with suppress(OSError):
            beside.unlink()


def _named(error: OSError, what: str, path: Path) -> OSError:
    return OSError(error.errno, f"checkpoint: it cannot be {what}: {error.strerror or error}", str(path))
