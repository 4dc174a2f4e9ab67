"""How many mistakes planted in hand-written NumPy gradients are named, and what is said of unrelated errors.

    python benchmarks/diagnoses.py [--seeds 20] [--unrelated 500] [--missed] [--network NAME]

"cause" is the share of mistakes that the first diagnosis names; "and line" that of those for which it names the line of
the forward pass, too. The gradient is given as arrays, and as the function that computes it.
"""

import sys
from collections import Counter
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from common import parse, parser, report

import gradcheck_fast as gf

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import planted


def measured(mistake, seed, threads):
    """The case, its report with the gradient as arrays and as a function, and the seconds of the slower."""
    loss, gradient, params = planted.case(mistake, seed)
    loss(params)
    reports, slowest = {}, 0.0
    for way, given in {"arrays": gradient(params), "function": gradient}.items():
        started = perf_counter()
        reports[way] = gf.gradcheck(loss, given, params, n_threads=threads)
        slowest = max(slowest, perf_counter() - started)
    return reports, slowest


def row(network, given):
    """The shares of one network's mistakes that are named; what was said instead is printed if asked for."""
    counts, seconds = Counter(), []
    for mistake in network.mistakes:
        for seed in range(given.seeds):
            reports, slowest = measured(mistake.name, seed, given.threads)
            seconds.append(slowest)
            for way, found in reports.items():
                cause, line = mistake.is_named(found.diagnoses)
                counts[way] += 1
                counts[way, "passed"] += found.ok
                counts[way, "cause"] += cause
                counts[way, "line"] += line
                counts[way, "silent"] += not found.diagnoses
                if given.missed and not line:
                    show(mistake, seed, way, found)
    right = [measured(network.name, seed, given.threads)[0] for seed in range(given.seeds)]
    wronged = sum(not found.ok or bool(found.diagnoses) for both in right for found in both.values())
    return {
        "network": network.name,
        "mistakes": len(network.mistakes),
        "right one not passed": wronged,
        "mistakes passed": counts["arrays", "passed"],
        "ms": f"{1e3 * median(seconds):.0f}",
        "slowest, ms": f"{1e3 * max(seconds):.0f}",
    } | shares(counts)


def shares(counts):
    """The shares by the way the gradient is given."""
    return {f"{what}, {way}": f"{100 * counts[way, key] / counts[way]:.1f} %" for way in ("arrays", "function")
            for what, key in (("cause", "cause"), ("and line", "line"), ("silent", "silent"))}  # fmt: skip


def show(mistake, seed, way, found):
    said = f"{found.diagnoses[0].cause} | {found.diagnoses[0].evidence}" if found.diagnoses else "nothing"
    print(f"{mistake.name} (seed {seed}, {way}; lines {', '.join(map(str, mistake.numbers)) or 'none'}): {said}")


def total(rows):
    """The row of all networks, in which each mistake counts alike."""
    weights = [each["mistakes"] for each in rows]
    whole = {"network": "all", "mistakes": sum(weights)}
    for key in ("right one not passed", "mistakes passed"):
        whole[key] = sum(each[key] for each in rows)
    whole["ms"] = f"{np.average([float(each['ms']) for each in rows], weights=weights):.0f}"
    whole["slowest, ms"] = f"{max(float(each['slowest, ms']) for each in rows):.0f}"
    for key in list(rows[0])[6:]:
        whole[key] = f"{np.average([float(each[key][:-2]) for each in rows], weights=weights):.1f} %"
    return whole


def silence(given):
    """What is said of unrelated errors, by kind."""
    said, of = Counter(), Counter()
    for number in range(given.unrelated):
        error = planted.unrelated(number)
        found = gf.gradcheck(error.loss, error.gradient, error.params, n_threads=given.threads)
        of[error.kind] += 1
        said[error.kind, "passed"] += found.ok
        for diagnosis in found.diagnoses:
            true = error.is_true(diagnosis.cause)
            said[error.kind, "true" if true else "false"] += 1
            if not true:
                print(f"{error.kind}, {error.network}, number {number}: {diagnosis.cause} | {diagnosis.evidence}")
    return [{"unrelated error": kind, "checks": count, "passed": said[kind, "passed"],
             "literally true": said[kind, "true"], "false causes": said[kind, "false"]}
            for kind, count in of.items()]  # fmt: skip


def main():
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=3, help="of each mistake")
    options.add_argument("--unrelated", type=int, default=100, help="unrelated errors")
    options.add_argument("--missed", action="store_true", help="print what was said where the mistake was not named")
    options.add_argument("--network", help="of this one only")
    given = parse(options)
    networks = [net for net in planted.NETWORKS.values() if given.network in (None, net.name)]
    rows = [row(network, given) for network in networks]
    report("Planted mistakes", [*rows, total(rows)], given)
    if given.unrelated:
        report("Errors that are no mistakes of back-propagation", silence(given), given)


if __name__ == "__main__":
    main()
