"""The command line: ``gradcheck-fast demo``, ``gradcheck-fast check FILE.py[:name]``, ``gradcheck-fast bench``."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_fast._version import __version__
from gradcheck_fast.checks.gradcheck import gradcheck
from gradcheck_fast.cli import bench, demo
from gradcheck_fast.inputs.arguments import integer, nearest
from gradcheck_fast.report.report import Report
from gradcheck_fast.report.text import as_json

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: The exit code if the gradient is right.
RIGHT = 0
#: The exit code if the gradient is wrong, or too little could be checked: what shells take for a failure.
WRONG = 1
#: The exit code of bad usage or input, which is also argparse's.
BAD_INPUT = 2
#: The exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it.
INTERRUPTED = 130
#: The exit code if nobody reads the output any more: 128 and the number of SIGPIPE, as shells have it.
NOBODY_READS = 141
EXIT_CODES = f"""\
Exit codes: {RIGHT} the gradient is right; {WRONG} it is wrong, or too little could be checked; {BAD_INPUT} bad usage or
input; {INTERRUPTED} interrupted by Ctrl-C; {NOBODY_READS} what it prints is no longer read.
"""
#: The names that a file defines, or the entries of what it names, in the order in which `gradcheck` takes them.
PARTS = ("loss", "gradient", "params")

CHECK_HELP = """\
FILE.py is a Python file that defines three names:

    loss       a function of params: net.loss(X, y) of a gf.Network, or your own
    gradient   the gradient to check, or the function of params that gives it
    params     the parameters: an array, or a dict, list or tuple of arrays

FILE.py:name takes them from `name` in that file instead: a dict or an object with these three entries, a tuple
(loss, gradient, params), or a function without arguments that returns one of these.
"""


class InputError(Exception):
    """Is raised if what the user gave cannot be checked; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; None for those of this process.
    """
    arguments = _parser().parse_args(argv)
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
        help="check the gradient that a Python file defines",
        description=CHECK_HELP,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("target", metavar="FILE.py[:name]")
    check.add_argument(
        "--method", default="auto", help="auto, units, incremental, chain, direct, complex, directional (default: auto)"
    )
    check.add_argument("--step", type=float, help="h (default: chosen by the method)")
    check.add_argument("--rtol", type=float, help="relative tolerance (default: by the gradient's dtype)")
    check.add_argument("--atol", type=float, help="absolute tolerance (default: by the gradient's dtype and size)")
    check.add_argument(
        "--sample",
        type=_number_or_share,
        metavar="N",
        help="compare only N entries of each array, drawn at random, or a share of them such as 0.01",
    )
    check.add_argument("--seed", type=int, default=0, help="of the sample, or of the random directions (default: 0)")
    check.add_argument("--threads", type=int, help="threads (default: the CPUs this process may use)")
    check.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="share the work out to N processes, each of one thread unless --threads says more; functions that "
        "FILE.py defines itself are sent to them by cloudpickle",
    )
    check.add_argument(
        "--no-trace", action="store_true", help="difference a Python function as it is, without tracing what it does"
    )
    check.add_argument("--checkpoint", metavar="FILE", help="keep what is found in this file, and go on from there")
    check.add_argument("--save", metavar="FILE", help="write the report to this file, too: .html or .json")
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.set_defaults(run=_check)
    return parser


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
    file, name = _split(arguments.target)
    before = sys.path.copy()
    sys.path.insert(0, str(file.resolve().parent))  # as `python FILE.py` does
    try:
        loss, gradient, params = _load(file, name)
        report = gradcheck(
            loss,
            gradient,
            params,
            method=arguments.method,
            step=arguments.step,
            rtol=arguments.rtol,
            atol=arguments.atol,
            n_threads=arguments.threads,
            progress=sys.stderr.isatty(),
            executor=None if arguments.workers is None else _processes(arguments.workers),
            checkpoint=arguments.checkpoint,
            sample=arguments.sample,
            seed=arguments.seed,
            trace=not arguments.no_trace,
        )
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        ours = isinstance(error, (TypeError, ValueError, OSError, RuntimeError)) and _raised_by_us(error)
        raise InputError(str(error) if ours else f"{arguments.target} raised\n{traceback.format_exc()}") from error
    finally:
        sys.path[:] = before
    if arguments.json:
        print(as_json(report))
    else:
        report.print()
    if arguments.save:
        _save(report, arguments.save)
    return RIGHT if report.ok else WRONG


def _processes(workers: int) -> Callable[[], Executor]:
    """Returns a function that makes a pool of new processes: forks of a process with threads may wait for ever."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    workers = integer("--workers", workers, positive=True)
    return lambda: ProcessPoolExecutor(workers, get_context("spawn"))


def _save(report: Report, path: str) -> None:
    try:
        report.save(path)
    except (ValueError, OSError) as error:
        raise InputError(f"--save: {error}") from None


def _split(target: str) -> tuple[Path, str]:
    """Splits FILE.py[:name] into a path and a name, which is empty if none is given."""
    file, name = target, ""
    if ":" in target and not Path(target).is_file():
        file, _, name = target.rpartition(":")
    if not Path(file).is_file():
        raise InputError(f"no such file: {file}")
    return Path(file), name


def _load(file: Path, name: str) -> tuple[Any, Any, Any]:
    """Runs a file, and returns the loss, the gradient and the parameters that it defines."""
    names = runpy.run_path(str(file))
    if not name:
        return _parts(names, str(file))
    if name not in names:
        raise InputError(f"{file} defines no {name!r}{nearest(name, names)}")
    found = names[name]
    if callable(found) and not hasattr(found, "loss"):
        found = found()
    return _parts(found, f"{file}:{name}")


def _parts(found: Any, target: str) -> tuple[Any, Any, Any]:
    """Takes the loss, the gradient and the parameters out of a tuple, a mapping or an object."""
    if isinstance(found, tuple) and len(found) == len(PARTS):
        return found
    values = found if isinstance(found, Mapping) else {p: getattr(found, p) for p in PARTS if hasattr(found, p)}
    missing = [part for part in PARTS if part not in values]
    if missing:
        raise InputError(f"{target} defines no {', '.join(missing)}; expected loss, gradient and params")
    return values["loss"], values["gradient"], values["params"]


def _raised_by_us(error: BaseException) -> bool:
    """Whether an error comes from this package, rather than from the user's functions that it called."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and Path(__file__).parents[1] in Path(last.tb_frame.f_code.co_filename).parents
