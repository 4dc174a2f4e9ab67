"""What the benchmarks share: timing, one table, and the same as JSON or as a plot."""

import argparse
import json
import os
import platform
import statistics
import sys
from datetime import date
from time import perf_counter

import gradcheck_fast as gf


class Enough(Exception):
    """Enough has been timed."""


def parser(description):
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, help="default: the CPUs that this process may use")
    options.add_argument("--seconds", type=float, default=3.0, help="for each row that is timed in part")
    options.add_argument("--json", metavar="FILE", help="write the rows and the machine to this file, too")
    options.add_argument("--plot", metavar="FILE", help="draw them into this file (needs matplotlib)")
    return options


def parse(parser):
    """What was given on the command line, with the number of threads that will be used."""
    given = parser.parse_args()
    given.threads = given.threads or gf.show_config("dicts")["threads"]
    return given


def median_time(function, repeats=7, most_seconds=10.0):
    """Median seconds of a call, after one that does not count; fewer calls where they take long."""
    function()
    times, started = [], perf_counter()
    while len(times) < repeats and (not times or perf_counter() - started < most_seconds):
        before = perf_counter()
        function()
        times.append(perf_counter() - before)
    return statistics.median(times)


def part_time(run, seconds):
    """Seconds for the whole of `run(progress)`, from as much of it as `seconds` allow, and the part that was done."""
    seen = []

    def watch(fraction):
        seen.append((perf_counter() - started, fraction))
        if seen[-1][0] > seconds:
            raise Enough

    started = perf_counter()
    try:
        run(watch)
        return perf_counter() - started, 1.0
    except Enough:
        elapsed, fraction = seen[-1]
        return elapsed / fraction, fraction


def machine(threads):
    """Where and when this was measured, in a line."""
    config = gf.show_config("dicts")
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            name = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), name)
    return (
        f"{name}, {os.cpu_count()} CPUs, {threads} threads, {config['instruction_set']}; {date.today()}; "
        f"gradcheck_fast {config['version']}, NumPy {config['numpy']}, Python {config['python']}"
    )


def report(title, rows, given, draw=None):
    """Prints rows (dicts with the same keys) as a table; writes JSON and the plot that were asked for.

    `draw(axes, rows)` draws the plot.
    """
    where = machine(given.threads)
    columns = list(rows[0])
    cells = [columns, *([_text(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    print(f"{title}\n{where}\n")
    for line in cells:
        aligned = (_align(text, width, k) for k, (text, width) in enumerate(zip(line, widths, strict=True)))
        print("  ".join(aligned).rstrip())
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"title": title, "machine": where, "rows": rows}, file, indent=2)
    if given.plot:
        _plot(title, where, rows, given.plot, draw)


def _plot(title, where, rows, path, draw):
    try:
        import matplotlib
    except ImportError:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    draw(axes, rows)
    axes.set_title(f"{title}\n", fontsize=11)
    axes.text(0, 1.01, where, transform=axes.transAxes, fontsize=6, color="0.4")
    figure.savefig(path, dpi=150)


def _align(text, width, column):
    return text.ljust(width) if column == 0 else text.rjust(width)


def _text(value):
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
