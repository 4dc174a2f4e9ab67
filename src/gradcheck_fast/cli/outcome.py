"""The check of one file, and what came of it as a value that can be sent to another process."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradcheck_fast.checks.gradcheck import gradcheck
from gradcheck_fast.cli.targets import InputError, Target, line_of_definition, load
from gradcheck_fast.inputs.users_files import is_users_file
from gradcheck_fast.report.text import as_json

if TYPE_CHECKING:
    from types import FrameType

    from gradcheck_fast.report.report import Report

#: The verdict on a file that could not be checked: it raises an error, hangs, crashes, or does not fit.
NOT_CHECKED = "NOT CHECKED"
#: The verdict on a file of a directory that defines nothing to check.
NOTHING = "NOTHING TO CHECK"
#: How many characters of a text that is not the report's are kept, at most: half from its start, half from its end.
_MOST_KEPT = 20_000
#: How many characters a message has, at most: it is to be one line.
_MOST_IN_MESSAGE = 300
#: What terminals and XML do not take in a text: control characters but for tabs and line feeds, and half characters.
_NOT_PRINTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Outcome:
    """What came of the check of one file.

    Attributes
    ----------
    target : str
        The file as the user named it, or as it was found, with ``:name`` if there is one.
    file : str
        The file itself.
    verdict : str
        ``"PASS"``, ``"FAIL"``, ``"INCONCLUSIVE"``, `NOT_CHECKED` or `NOTHING`.
    message : str
        The verdict in words, or why the file could not be checked, in one line.
    causes : tuple of str
        The mistake that was diagnosed, in one line; and, if `place` is known from another diagnosis, what that says.
    place : tuple of (str, int), or None
        A file, and the number of the line in it: of the mistake that was diagnosed, in the gradient if it was found
        there, else in the loss; or of the error, or where the file was when it was ended, if it could not be checked.
        None if it is not known.
    defined : int or None
        The line in `file` where the gradient is defined, if that is known.
    seconds : float
        How long it took to run the file and check it.
    text : str
        The whole report, or the traceback of an error.
    coloured : str
        The report with the colours of terminals, if it was asked for.
    output : str
        What the file printed, shortened.
    report : dict or None
        `Report.to_dict`; None if there is no report.
    imported : tuple of str
        The user's own modules that it imported: their files.
    """

    target: str
    file: str
    verdict: str
    message: str
    causes: tuple[str, ...] = ()
    place: tuple[str, int] | None = None
    defined: int | None = None
    seconds: float = 0.0
    text: str = ""
    coloured: str = ""
    output: str = ""
    report: dict[str, Any] | None = None
    imported: tuple[str, ...] = ()

    @property
    def is_failure(self) -> bool:
        """Whether the gradient is wrong, or too little could be checked."""
        return self.verdict in ("FAIL", "INCONCLUSIVE")

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Reads an outcome; texts of the user's get rid of what cannot be printed."""
        sent = json.loads(text)
        values = {field.name: sent[field.name] for field in fields(cls) if sent.get(field.name) is not None}
        for name in ("message", "text", "output"):
            values[name] = printable(values.get(name, ""))
        values["causes"] = tuple(map(printable, values.get("causes", ())))
        if "place" in values:
            values["place"] = (str(values["place"][0]), int(values["place"][1]))
        return cls(**values | {"imported": tuple(values.get("imported", ()))})

    def to_json(self) -> str:
        """Writes it for `from_json`."""
        return json.dumps(asdict(self))


def printable(text: str) -> str:
    """Replaces control characters, which would move a terminal's cursor or break XML, by what Python writes for them.

    A long text is shortened in its middle.
    """
    if len(text) > _MOST_KEPT:
        half = _MOST_KEPT // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half:,} characters are left out]\n{text[-half:]}"
    return _NOT_PRINTED.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Returns a text as one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_IN_MESSAGE else f"{line[: _MOST_IN_MESSAGE - 3]}..."


def not_checked(target: Target, message: str, **more: Any) -> Outcome:
    """Returns the outcome of a file that could not be checked, and why."""
    return Outcome(str(target), str(target.file), NOT_CHECKED, one_line(message), **more)


def nothing_to_check(target: Target) -> Outcome:
    """Returns the outcome of a file of a directory that is none that is to be checked."""
    return Outcome(str(target), str(target.file), NOTHING, "it defines no loss, gradient and params")


def check_file(target: Target, options: Mapping[str, Any]) -> Report:
    """Runs a file, which can import its neighbours as with ``python FILE.py``, and checks the gradient that it defines.

    Parameters
    ----------
    target : Target
    options : mapping
        The keywords of `gradcheck`.

    Raises
    ------
    InputError
        If it cannot be checked, with the user's error as its cause.
    """
    before = sys.path.copy()
    sys.path.insert(0, str(target.file.resolve().parent))
    try:
        return gradcheck(*load(target), **options)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(str(error) if _is_our_message(error) else f"{target} raised\n{_traceback(error)}") from error
    finally:
        sys.path[:] = before


def examine(target: Target, options: Mapping[str, Any], *, save: str = "", width: int = 0) -> Outcome:
    """Checks a file, and returns what came of it, whatever error the file raises.

    Parameters
    ----------
    target : Target
    options : mapping
        The keywords of `gradcheck`.
    save : str
        Where the report is saved, too; "" for nowhere.
    width : int
        The width of the terminal for which the report is coloured; 0 for no colours.
    """
    began = perf_counter()
    known = set(sys.modules)
    try:
        report = check_file(target, options)
        outcome = _of_report(target, report, width)
        if save:
            save_report(report, save, "--save")
    except InputError as error:
        outcome = _of_error(target, error)
    except BaseException as error:  # such as a KeyboardInterrupt that the file raises by itself
        outcome = _of_error(target, InputError(f"{target} raised\n{_traceback(error)}"), error)
    return replace(outcome, seconds=perf_counter() - began, imported=_users_modules(sys.modules.keys() - known))


def save_report(report: Report, path: str, option: str) -> None:
    """Saves a report where an option of the command line says.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    try:
        report.save(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{option}: {error}") from None


def _users_modules(names: Iterable[str]) -> tuple[str, ...]:
    files = {getattr(sys.modules.get(name), "__file__", None) for name in names}
    return tuple(sorted(file for file in files if isinstance(file, str) and is_users_file(file)))


def _of_report(target: Target, report: Report, width: int) -> Outcome:
    causes, place = _mistake(report)
    return Outcome(
        str(target),
        str(target.file),
        report.verdict,
        one_line(report.reason),
        causes=causes,
        place=place,
        defined=line_of_definition(target.file, target.name or "gradient"),
        text=str(report),
        coloured=_coloured(report, width) if width else "",
        report=json.loads(as_json(report)),
    )


def _mistake(report: Report) -> tuple[tuple[str, ...], tuple[str, int] | None]:
    """Returns what is most likely wrong, and its line.

    The lines of a diagnosis may be ones of the loss, of which the gradient is wrong. A diagnosis of the same arrays
    that has a line of the gradient itself says better where to look.
    """
    if not report.diagnoses:
        return (), None
    first = report.diagnoses[0]
    same = [diagnosis for diagnosis in report.diagnoses if not set(first.arrays).isdisjoint(diagnosis.arrays)]
    found = [(one_line(d.cause), place) for d in (first, *same) for place in d.lines if os.path.isfile(place[0])]
    if not found:
        return (one_line(first.cause),), None
    of_the_loss = {(line.file, line.line) for line in report.lines}
    cause, place = next((pair for pair in found if pair[1] not in of_the_loss), found[0])
    return tuple(dict.fromkeys((one_line(first.cause), cause))), place


def _coloured(report: Report, width: int) -> str:
    from rich.console import Console  # only who shows it waits for its import

    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="standard", width=width, soft_wrap=True).print(report)
    return file.getvalue()


def _of_error(target: Target, said: InputError, error: BaseException | None = None) -> Outcome:
    """The outcome of a check that ended with an error; of the user's, its line in the file is found."""
    error = error or said.__cause__
    if error is None or _is_our_message(error):
        return not_checked(target, str(said), text=str(said))
    what = type(error).__name__
    with suppress(Exception):  # whose __str__ may be the user's
        what = f"{what}: {error}" if str(error) else what
    return not_checked(target, f"raised {what}", text=str(said), place=_line_of_error(error, target.file))


def _line_of_error(error: BaseException, file: Path) -> tuple[str, int] | None:
    """Where an error was raised: the innermost line of the file itself."""
    here = os.path.realpath(file)
    if isinstance(error, SyntaxError) and error.filename and error.lineno and os.path.isfile(error.filename):
        return error.filename, error.lineno
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if _file_of(frame) == here]
    return (str(file), lines[-1]) if lines else None


def _traceback(error: BaseException) -> str:
    """Writes a traceback from the first line of the user's files on."""
    trace = error.__traceback__
    while trace is not None and not is_users_file(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _file_of(frame: FrameType) -> str:
    return os.path.realpath(frame.f_code.co_filename)


def _is_ours(file: str) -> bool:
    return Path(__file__).parents[1] in Path(file).parents


def _is_our_message(error: BaseException) -> bool:
    """Whether an error is one that this package raises to say what is wrong, and not one of the user's functions."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    said = isinstance(error, (TypeError, ValueError, OSError, RuntimeError))
    return said and last is not None and _is_ours(last.tb_frame.f_code.co_filename)
