"""Checks many files, each in a process of its own with a time limit, and sums up what came of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TextIO

from gradcheck_fast.cli import formats
from gradcheck_fast.cli.exit_codes import BAD_INPUT, RIGHT, WRONG
from gradcheck_fast.cli.forked import Request
from gradcheck_fast.cli.outcome import NOT_CHECKED, NOTHING, Outcome, nothing_to_check
from gradcheck_fast.cli.pool import Pool
from gradcheck_fast.cli.targets import InputError, Target, collect, has_nothing
from gradcheck_fast.inputs.arguments import duration
from gradcheck_fast.report.source import short_path
from gradcheck_fast.running.threads import available

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

#: What a verdict is shown in. Colours only repeat what the words say.
STYLES = {"PASS": "green", "FAIL": "bold red", "INCONCLUSIVE": "yellow", NOT_CHECKED: "bold yellow", NOTHING: "dim"}
#: How the last line calls the files of each verdict.
_COUNTED = {"PASS": "right", "FAIL": "wrong", "INCONCLUSIVE": "inconclusive", NOT_CHECKED: "not checked"}
#: The width for tables that are not shown on a terminal: no line is broken.
_WIDE = 10_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be done with many files.

    Attributes
    ----------
    options : mapping
        The keywords of `gradcheck`.
    limit : float
        After how many seconds a file is ended.
    jobs : int, optional
        How many files are checked at once; None for as many as there are CPUs.
    save : str, optional
        The directory in which a page about each file is saved.
    junit, json : str, optional
        The files that are written; ``"-"`` for the standard output.
    github : bool
        Whether annotations are printed.
    verbose : bool
        Whether the whole report of each file that is not right is printed.
    """

    options: Mapping[str, Any]
    limit: float
    jobs: int | None = None
    save: str | None = None
    junit: str | None = None
    json: str | None = None
    github: bool = False
    verbose: bool = False


def check_many(targets: Sequence[str], wanted: Wanted, out: TextIO | None = None) -> int:
    """Checks files and directories, prints a summary, and writes what else is wanted.

    Parameters
    ----------
    targets : sequence of str
        Files, with ``:name`` if the parts are to be taken from there, and directories.
    wanted : Wanted
    out : file, optional
        Where it is printed; None for the standard output.

    Returns
    -------
    int
        The exit code: 0 if some files were checked, and all of these are right; 1 if a gradient is wrong, or too
        little could be checked; 2 if none is wrong, but some files could not be checked, or there are none.

    Raises
    ------
    InputError
        If a file that is wanted cannot be written, or there is nothing to check at all.
    """
    out = out or sys.stdout
    began = perf_counter()
    _look_at_places(wanted)
    found = collect(targets)
    outcomes: dict[int, Outcome] = {}
    try:
        _run(found, wanted, outcomes)
    finally:  # after Ctrl-C, too: what is known by then is shown
        known = [outcomes[number] for number in sorted(outcomes)]
        _write(known, wanted, perf_counter() - began, out)
    return exit_code(known)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Returns the exit code; see `check_many`."""
    if any(outcome.is_failure for outcome in outcomes):
        return WRONG
    verdicts = {outcome.verdict for outcome in outcomes} - {NOTHING}
    return RIGHT if verdicts == {"PASS"} else BAD_INPUT


def _look_at_places(wanted: Wanted) -> None:
    """Raises an `InputError` if what is wanted cannot be written, before hours are spent on it."""
    for option, path in (("--junit", wanted.junit), ("--json", wanted.json)):
        if path not in (None, "-") and not Path(path).absolute().parent.is_dir():
            raise InputError(f"{option}: no such directory: {Path(path).parent}")
    if (wanted.github, wanted.json == "-", wanted.junit == "-").count(True) > 1:
        raise InputError("--github, --json and --junit: only one of them can be printed; give the others a file")
    if wanted.save and os.path.splitext(wanted.save)[1] in (".html", ".json"):
        raise InputError(f"--save: expected a directory for the pages about several files, got {wanted.save!r}")


def _run(targets: Sequence[Target], wanted: Wanted, outcomes: dict[int, Outcome]) -> None:
    """Puts the outcome of each target into a dict, under its number, as soon as there is one."""
    to_run = []
    for number, target in enumerate(targets):
        if has_nothing(target):
            outcomes[number] = nothing_to_check(target)
        else:
            to_run.append((number, target))
    if not to_run:
        return
    jobs = min(available() if wanted.jobs is None else wanted.jobs, len(to_run))
    threads = max(1, available() // jobs)
    options = {"n_threads": threads, **wanted.options}
    requests = [
        Request(str(target.file), target.name, options, wanted.limit, number, _page(wanted.save, target))
        for number, target in to_run
    ]
    with Pool(jobs, threads) as pool, _progress(len(requests)) as tell:
        for number, outcome in pool.run(requests):
            outcomes[number] = outcome
            tell(outcome)


def _page(directory: str | None, target: Target) -> str:
    """The name of the page about a target, in a directory that is made for it; "" if none is wanted."""
    if directory is None:
        return ""
    relative = os.path.relpath(target.file)
    if relative.startswith(os.pardir):
        relative = os.path.relpath(target.file, Path(target.file.absolute().anchor))
    name = f"{relative}.{target.name}.html" if target.name else f"{relative}.html"
    path = Path(directory, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--save: {error}") from None
    return str(path)


@contextmanager
def _progress(files: int) -> Iterator[Callable[[Outcome], None]]:
    """Shows on stderr, if that is a terminal, how many files are done; gives the function that is told of each."""
    if not sys.stderr.isatty():

        def say_nothing(outcome: Outcome) -> None:
            pass

        yield say_nothing
        return
    from rich.console import Console  # these imports take time, which only those who look at it need spend
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=files)

        def show(outcome: Outcome) -> None:
            progress.update(task, advance=1, description=f"{outcome.verdict} {outcome.target}")

        yield show


def _write(outcomes: Sequence[Outcome], wanted: Wanted, seconds: float, out: TextIO) -> None:
    """Prints what came of the files, and writes what else is wanted."""
    if "-" not in (wanted.json, wanted.junit):
        _print(outcomes, wanted, seconds, out)
    if wanted.junit:
        _put("--junit", wanted.junit, formats.junit(outcomes, seconds), out)
    if wanted.json:
        _put("--json", wanted.json, formats.as_json(outcomes, seconds, exit_code(outcomes)), out)


def _put(option: str, path: str, text: str, out: TextIO) -> None:
    if path == "-":
        print(text, file=out)
        return
    try:
        Path(path).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{option}: {error}") from None


def _print(outcomes: Sequence[Outcome], wanted: Wanted, seconds: float, out: TextIO) -> None:
    from rich.console import Console  # its import takes time, which only those who print need spend

    failed = [outcome for outcome in outcomes if outcome.is_failure or outcome.verdict == NOT_CHECKED]
    if wanted.verbose and failed:
        reports = "\n\n".join(map(_report, failed))
        print(formats.without_commands(reports) if wanted.github else reports, end="\n\n", file=out)
    shown = [outcome for outcome in outcomes if outcome.verdict != NOTHING]
    if shown:
        console = Console(file=out) if out.isatty() else Console(file=out, width=_WIDE)
        with console.capture() as captured:  # rich itself would end the process if the pipe is closed
            console.print(table(shown))
        print("\n".join(line.rstrip() for line in captured.get().splitlines()), file=out)
    print(summary(outcomes, seconds), file=out)
    for line in formats.github(outcomes) if wanted.github else ():
        print(line, file=out)


def _report(outcome: Outcome) -> str:
    """The whole report, or the traceback, and what the file printed."""
    printed = f"\nIt printed:\n{outcome.output.rstrip()}" if outcome.output.strip() else ""
    return f"== {outcome.target}\n{outcome.text.strip() or outcome.message}{printed}"


def table(outcomes: Sequence[Outcome]) -> Table:
    """Returns a table with a row for each file: its verdict, its name, the line of the mistake, the time, and why."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("verdict", "file", "line", "seconds", "found"):
        found.add_column(title, justify="right" if title == "seconds" else "left", no_wrap=title in ("verdict", "line"))
    for outcome in outcomes:
        where = "" if outcome.place is None else _line(outcome, *outcome.place)
        cells = (outcome.target, where, f"{outcome.seconds:.2f}", formats.in_words(outcome))
        found.add_row(Text(outcome.verdict, STYLES[outcome.verdict]), *map(Text, cells))
    return found


def _line(outcome: Outcome, file: str, line: int) -> str:
    """Writes a line number, with the file if that is another one."""
    is_same = os.path.realpath(file) == os.path.realpath(outcome.file)
    return str(line) if is_same else f"{short_path(file)}:{line}"


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Says in a line how many files have which verdict."""
    counts = formats.counts(outcomes)
    checked = sum(counts[verdict] for verdict in _COUNTED)
    parts = [f"{counts[verdict]:,} {what}" for verdict, what in _COUNTED.items() if counts[verdict]]
    nothing = f"; {counts[NOTHING]:,} more define nothing to check" if counts[NOTHING] else ""
    files = f"{checked:,} file{'s' * (checked != 1)}"
    return f"{files}: {', '.join(parts) or 'nothing to check'}, in {duration(seconds)}{nothing}"
