"""The command line: `gradcheck-fast` and its commands ``demo``, ``check``, ``watch`` and ``bench``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_fast._version import __version__
from gradcheck_fast.cli import bench, demo
from gradcheck_fast.cli.exit_codes import BAD_INPUT, EXIT_CODES, INTERRUPTED, NOBODY_READS, RIGHT, WRONG
from gradcheck_fast.cli.many import Wanted, check_many
from gradcheck_fast.cli.outcome import check_file, save_report
from gradcheck_fast.cli.targets import FILE_HELP, InputError, split
from gradcheck_fast.cli.watch import watch
from gradcheck_fast.inputs.arguments import integer
from gradcheck_fast.report.text import as_json

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: After so many seconds a file is ended, if several are checked or one is watched, unless the user says otherwise.
TIME_LIMIT = 60.0
CHECK_HELP = f"""\
{FILE_HELP}
Of a directory, all *.py files that define these names are checked. Several files are checked at once, each in a
process of its own with a time limit, and summed up in a table; a file that hangs, crashes or raises an error is named
there. Files that define at most one of the three names are not run, and counted as ones with nothing to check.
"""
WATCH_HELP = f"""\
Checks FILE.py, and again at each save of it or of the user's modules that it imports, until Ctrl-C. The file is run in
a new process each time. The exit code is that of the last verdict.

{FILE_HELP}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; None for those of this process.
    """
    arguments = _parser().parse_args(_with_explicit_json(sys.argv[1:] if argv is None else argv))
    try:
        return int(arguments.run(arguments))
    except InputError as error:
        print(f"gradcheck-fast: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # `gradcheck-fast demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except KeyboardInterrupt:
        print("gradcheck-fast: interrupted", file=sys.stderr)
        return INTERRUPTED


def _with_explicit_json(arguments: Sequence[str]) -> list[str]:
    """Tells ``--json`` without a file from one with a file: else ``--json my.py`` would write over the file."""
    explicit = list(arguments)
    for k, argument in enumerate(explicit):
        following = explicit[k + 1] if k + 1 < len(explicit) else ""
        if argument == "--json" and following != "-" and not following.endswith(".json"):
            explicit[k] = "--json=-"
    return explicit


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gradcheck-fast",
        description="Tells whether every number of a hand-written gradient is right, and which are wrong.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"gradcheck_fast {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    show = commands.add_parser("demo", help="check a hand-written back-propagation on real data, right and wrong")
    show.set_defaults(run=_demo)
    speed = commands.add_parser("bench", help="time each method against the classic loop, in a few seconds")
    speed.set_defaults(run=_bench)
    check = commands.add_parser(
        "check",
        help="check the gradients that Python files define",
        description=CHECK_HELP,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("targets", metavar="FILE.py[:name]", nargs="+", help="a file, or a directory")
    _add_options(check)
    check.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="share the work out to N processes, each of one thread unless --threads says more; functions that "
        "FILE.py defines itself are sent to them by cloudpickle",
    )
    check.add_argument("--checkpoint", metavar="FILE", help="keep what is found in this file, and go on from there")
    check.add_argument(
        "--save", metavar="PATH", help="write the report to this file, too: .html or .json; of many files: a directory"
    )
    check.add_argument(
        "--json",
        metavar="FILE.json",
        nargs="?",
        const="-",
        type=_json_file,
        help="print JSON instead (also: -), or write it to this file, whose name must end in .json, too",
    )
    many = check.add_argument_group("many files (with any of these, also a single one is checked in its own process)")
    many.add_argument(
        "--timeout", type=_seconds, metavar="S", help=f"end a file after S seconds (default: {TIME_LIMIT:.0f})"
    )
    many.add_argument("--jobs", type=int, metavar="N", help="check N files at once (default: the number of CPUs)")
    many.add_argument("--junit", metavar="FILE.xml", help="write JUnit's XML to this file, too (-: print it instead)")
    many.add_argument(
        "--github", action="store_true", help="print annotations for GitHub Actions, at the lines of the mistakes"
    )
    many.add_argument("--verbose", action="store_true", help="print the whole report of each file that is not right")
    check.set_defaults(run=_check)
    watch = commands.add_parser(
        "watch",
        help="check a Python file again at each save",
        description=WATCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument("target", metavar="FILE.py[:name]")
    _add_options(watch)
    watch.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        default=TIME_LIMIT,
        help=f"end a check after S seconds (default: {TIME_LIMIT:.0f})",
    )
    watch.set_defaults(run=_watch)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `gradcheck` that all files may be given."""
    parser.add_argument(
        "--method", default="auto", help="auto, units, incremental, chain, direct, complex, directional (default: auto)"
    )
    parser.add_argument("--step", type=float, help="h (default: chosen by the method)")
    parser.add_argument("--rtol", type=float, help="relative tolerance (default: by the gradient's dtype)")
    parser.add_argument("--atol", type=float, help="absolute tolerance (default: by the gradient's dtype and size)")
    parser.add_argument(
        "--sample",
        type=_number_or_share,
        metavar="N",
        help="compare only N entries of each array, drawn at random, or a share of them such as 0.01",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample, or of the random directions (default: 0)")
    parser.add_argument("--threads", type=int, help="threads (default: the CPUs; of many files, their share of these)")
    parser.add_argument(
        "--no-trace", action="store_true", help="difference a Python function as it is, without tracing what it does"
    )


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `gradcheck` that `_add_options` reads, without those that are not given."""
    names = {name: name for name in ("method", "step", "rtol", "atol", "sample", "seed")} | {"n_threads": "threads"}
    given = {keyword: getattr(arguments, name) for keyword, name in names.items()}
    return {keyword: value for keyword, value in given.items() if value is not None} | {"trace": not arguments.no_trace}


def _json_file(text: str) -> str:
    """Reads the name of a file that JSON is written to: no other file is to be written over by mistake."""
    if text != "-" and not text.endswith(".json"):
        raise argparse.ArgumentTypeError(f"expected - or a name that ends in .json, got {text!r}")
    return text


def _seconds(text: str) -> float:
    """Reads a time, in seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, got {text!r}")
    return seconds


def _number_or_share(text: str) -> int | float:
    """Reads a number of entries as an int, and a share of them as a float."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number of entries or a share of them, got {text!r}") from None


def _demo(arguments: argparse.Namespace) -> int:
    right, wrong = demo.run()
    return RIGHT if right.ok and not wrong.ok else WRONG


def _bench(arguments: argparse.Namespace) -> int:
    bench.run()
    return RIGHT


def _check(arguments: argparse.Namespace) -> int:
    asked = ("timeout", "jobs", "junit", "github", "verbose")
    if len(arguments.targets) > 1 or Path(arguments.targets[0]).is_dir() or any(getattr(arguments, a) for a in asked):
        return _check_many(arguments)
    options = {
        "progress": sys.stderr.isatty(),
        "executor": None if arguments.workers is None else _processes(arguments.workers),
        "checkpoint": arguments.checkpoint,
    }
    report = check_file(split(arguments.targets[0]), _options(arguments) | options)
    if arguments.json == "-":
        print(as_json(report))
    else:
        report.print()
    if arguments.save:
        save_report(report, arguments.save, "--save")
    if arguments.json and arguments.json != "-":
        save_report(report, arguments.json, "--json")
    return RIGHT if report.ok else WRONG


def _check_many(arguments: argparse.Namespace) -> int:
    for option in ("workers", "checkpoint"):
        if getattr(arguments, option) is not None:
            raise InputError(f"--{option}: expected with one file, and none of the options for many files")
    wanted = Wanted(
        options=_options(arguments),
        limit=arguments.timeout or TIME_LIMIT,
        jobs=None if arguments.jobs is None else _positive("--jobs", arguments.jobs),
        save=arguments.save,
        junit=arguments.junit,
        json=arguments.json,
        github=arguments.github,
        verbose=arguments.verbose,
    )
    return check_many(arguments.targets, wanted)


def _watch(arguments: argparse.Namespace) -> int:
    return watch(split(arguments.target), _options(arguments), arguments.timeout)


def _positive(option: str, value: int) -> int:
    try:
        return integer(option, value, positive=True)
    except ValueError as error:
        raise InputError(str(error)) from None


def _processes(workers: int) -> Callable[[], Executor]:
    """Returns a function that makes a pool of new processes: forks of a process with threads may wait for ever."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    workers = _positive("--workers", workers)
    return lambda: ProcessPoolExecutor(workers, get_context("spawn"))
