"""Writes a report as HTML: for notebooks, and as one page that needs nothing outside it.

Each function takes a report, or a part of it, to a string. The colours can be told apart on light and dark grounds,
also by colour-blind people; each is repeated by a word or a mark.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from math import inf, isnan, log10
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.inputs.arrays import format_index
from gradcheck_fast.report import intermediates, source
from gradcheck_fast.report.findings import format_error
from gradcheck_fast.report.heatmap import HeatMap, heat_maps
from gradcheck_fast.report.text import (
    COUNTS_IF_ANY,
    SEEN_FROM,
    aspects_in_words,
    certified,
    error_column,
    format_shape,
    found_in_words,
    how,
    seen_rows,
    sentence,
    wrong_of,
)
from gradcheck_fast.report.way_back import STYLE as WAY_BACK_STYLE
from gradcheck_fast.report.way_back import way_back
from gradcheck_fast.running.config import show_config

if TYPE_CHECKING:
    from gradcheck_fast.comparison.results import ArrayResult
    from gradcheck_fast.report.findings import Findings

#: How many of the worst entries are listed, at most.
MOST_WORST = 10
#: How many heat maps are drawn, at most: more would make the page long, and say little more.
MOST_HEAT_MAPS = 12
#: How many rows and columns of cells a heat map has, at most: more could not be told apart at its size.
HEAT_MAP_CELLS = (32, 48)
#: Upper bounds of log10(error / tolerance) of the classes 0 to 3 (right) and 4 to 6 (wrong). Class 7 is above, 8 is
#: NaN.
_BOUNDS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, inf)
#: The colour of each class: pale blue to blue for right, orange to brown for wrong, and black for NaN.
_COLOURS = ("#dcebf5", "#c3ddee", "#a5cde5", "#7fb9da", "#f4b183", "#e8803a", "#c85200", "#7a2e00", "#000")
#: What the key of the heat maps says of some classes.
_KEY = {0: "far within the tolerance", 3: "just within", 4: "just beyond", 7: "far beyond", 8: "not finite"}
#: The mark that repeats what the colour of an array's status says.
_MARKS = {"right": "✓", "wrong": "✗", "inconclusive": "?", "nothing to check": "–", "not checked": "–"}
#: How many powers of ten the bar of a relative error spans, up to 1: below 1e-17 errors count as none.
_BAR_DECADES = 17

_STYLE = """
.gradcheck-fast{font:14px/1.45 system-ui,sans-serif;max-width:62rem;font-variant-numeric:tabular-nums}
.gradcheck-fast h2{font-size:1.25rem;margin:0 0 .3rem;font-weight:600}
.gradcheck-fast h3{font-size:1rem;margin:1.6rem 0 .4rem;font-weight:600}
.gradcheck-fast p{margin:.3rem 0}
.gradcheck-fast .quiet,.gradcheck-fast th{opacity:.75}
.gradcheck-fast .badge{display:inline-block;padding:0 .5em;border-radius:.3em;color:#fff;white-space:nowrap}
.gradcheck-fast .right{background:#0072b2}.gradcheck-fast .wrong{background:#b34700}
.gradcheck-fast .inconclusive,.gradcheck-fast .nothing{background:#6b6b6b}
.gradcheck-fast .box{border-left:.25rem solid #b34700;padding:.1rem .8rem;margin:.8rem 0}
.gradcheck-fast .note{border-color:#cc8500}
.gradcheck-fast .foot{margin-top:1.6rem}
.gradcheck-fast pre{overflow-x:auto;margin:.2rem 0 .6rem;font-size:.9em;line-height:1.45}
.gradcheck-fast pre i{font-style:normal;opacity:.6}.gradcheck-fast pre .marked{font-weight:600}
.gradcheck-fast .scroll{overflow-x:auto}
.gradcheck-fast table{border-collapse:collapse;margin:0;border:0}
.gradcheck-fast th,.gradcheck-fast td{padding:.2rem .8rem .2rem 0;text-align:right;border:0;white-space:nowrap}
.gradcheck-fast th{font-weight:400}
.gradcheck-fast tr{border:0;border-bottom:1px solid #8885;background:none}
.gradcheck-fast :is(th,td):first-child{text-align:left}
.gradcheck-fast td:first-child{font-family:ui-monospace,monospace}
.gradcheck-fast .track{display:inline-block;width:6rem;height:.6rem;background:#8883;vertical-align:middle}
.gradcheck-fast .track i{display:block;height:100%}
.gradcheck-fast .maps{display:flex;flex-wrap:wrap;gap:1rem 1.4rem;align-items:flex-end}
.gradcheck-fast figure{margin:0;width:12rem}
.gradcheck-fast figcaption{overflow-wrap:anywhere}
.gradcheck-fast svg{display:block;width:100%;height:7rem;outline:1px solid #888}
.gradcheck-fast svg.strip{height:1.4rem}
.gradcheck-fast .key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.4rem 0 .8rem}
.gradcheck-fast .key svg{display:inline-block;width:1em;height:1em;vertical-align:-.1em}
"""
_STYLE += WAY_BACK_STYLE + "\n".join(f".gradcheck-fast .e{k}{{fill:{colour}}}" for k, colour in enumerate(_COLOURS))

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>gradcheck: {verdict}</title>
<style>:root{{color-scheme:light dark}}body{{margin:2rem;background:Canvas;color:CanvasText}}</style>
</head>
<body>
{fragment}
</body>
</html>
"""


def page(report: Findings) -> str:
    """Writes a report as a whole HTML page."""
    return _PAGE.format(verdict=escape(report.verdict), fragment=fragment(report))


def fragment(report: Findings) -> str:
    """Writes a report as a ``<div>`` with a style of its own, which does not change anything around it."""
    seen = [[escape(cell) for cell in row] for row in seen_rows(report)]
    parts = [
        _headline(report),
        *(f'<p class="box note"><b>Note:</b> {escape(note)}</p>' for note in report.notes),
        _diagnoses(report),
        _array_table(report),
        way_back(report),
        _intermediates(report),
        _table("What would have been seen", list(SEEN_FROM), seen) if seen else "",
        _aspects(report),
        _found(report),
        _heat_maps(report),
        _worst_table(report),
        _footer(),
    ]
    return f'<div class="gradcheck-fast"><style>{_STYLE}</style>\n' + "\n".join(filter(None, parts)) + "\n</div>"


def _headline(report: Findings) -> str:
    status = {"PASS": "right", "FAIL": "wrong"}.get(report.verdict, "inconclusive")
    verdict = _badge(status, report.verdict)
    lines = [line for line in (certified(report), report.coverage) if line]
    said = "".join(f"\n<p>{escape(sentence(line))}</p>" for line in lines)
    return f'<h2>gradcheck: {verdict} {escape(report.reason)}</h2>\n<p class="quiet">{escape(how(report))}</p>{said}'


def _diagnoses(report: Findings) -> str:
    return "\n".join(
        f'<div class="box"><p><b>{"Also" if k else "Most likely"}:</b> {escape(diagnosis.cause)}</p>'
        f"<p>{escape(diagnosis.evidence)}</p>{''.join(map(_excerpt, source.excerpts(diagnosis.lines)))}</div>"
        for k, diagnosis in enumerate(report.diagnoses)
    )


def _excerpt(excerpt: source.Excerpt) -> str:
    rows = "\n".join(
        f"<span{' class=marked' * row.is_marked}><i>{'&gt;' if row.is_marked else ' '} {row.number:>4}</i> "
        f"{escape(row.text)}</span>"
        for row in excerpt.rows
    )
    return f'<p class="quiet">{escape(excerpt.place)}</p>\n<pre>{rows}</pre>'


def _intermediates(report: Findings) -> str:
    """Writes the table of the user's own intermediates, and which is the first wrong one."""
    if not report.intermediates:
        return ""
    first = intermediates.summary(report.intermediates)
    shown = "".join(map(_excerpt, source.excerpts(intermediates.places(report.intermediates))))
    said = f'<div class="box"><p>{escape(sentence(first, capital=False))}</p>{shown}</div>\n' if first else ""
    rows = []
    for row in intermediates.rows(report.intermediates):
        cells = [escape(cell) for cell in row]
        cells[4] = _badge("inconclusive" if row[4] == "unknown" else row[4], row[4])
        rows.append(cells)
    return said + _table("Your intermediates", list(intermediates.TITLES), rows)


def _array_table(report: Findings) -> str:
    """Writes a row for each array. Entries at kinks and inconclusive ones have a column only if there are any."""
    counts = {title: [count(array) for array in report.arrays] for title, count in COUNTS_IF_ANY.items()}
    counts = {title: numbers for title, numbers in counts.items() if any(numbers)}
    title, errors = error_column(report)
    head = ["array", "shape", "relative error", "", title, "wrong", *counts, ""]
    rows = [
        [
            escape(a.name), format_shape(a.shape, "×"), format_error(a.relative_error), _bar(a), errors(a),
            wrong_of(a), *(f"{numbers[k]:,}" for numbers in counts.values()),
            _badge(a.status, f"{_MARKS.get(a.status, '')} {a.status}"),
        ]
        for k, a in enumerate(report.arrays)
    ]  # fmt: skip
    totals = [f"{report.wrong:,} of {report.checked:,}", *(f"{sum(numbers):,}" for numbers in counts.values())]
    rows.append(["total", "", format_error(report.relative_error), "", "", *totals, ""])
    return _table("Arrays", head, rows)


def _aspects(report: Findings) -> str:
    said = "".join(f"<p>{escape(sentence(line))}</p>" for line in aspects_in_words(report))
    return f"<h3>Aspects</h3>\n{said}" if said else ""


def _found(report: Findings) -> str:
    return "\n".join(f"<p>{escape(said)}</p>" for said in found_in_words(report.arrays))


def _worst_table(report: Findings) -> str:
    worst = report.worst(min(MOST_WORST, report.wrong))
    head = ["entry", f"your {report._what}", "numerical"]
    rows = [[escape(f"{e.array}{format_index(e.index)}"), f"{e.analytic:.12g}", f"{e.numerical:.12g}"] for e in worst]
    if report.bars is not None:
        head.append("error bar")
        for row, entry in zip(rows, worst, strict=True):
            row.append(f"± {report.bar_of(entry):.1e}")
    return _table("Worst entries", head, rows) if worst else ""


def _heat_maps(report: Findings) -> str:
    """Draws the arrays in which something is wrong; a map of nothing but right entries would say nothing."""
    wrong = sum(bool(array.wrong) for array in report.arrays)
    maps = heat_maps(report, min(wrong, MOST_HEAT_MAPS), cells=HEAT_MAP_CELLS)
    if not maps:
        return ""
    key = "".join(
        f'<span><svg viewBox="0 0 1 1" aria-hidden="true"><rect class="e{k}" width="1" height="1"/></svg> {says}</span>'
        for k, says in _KEY.items()
    )
    left_out = f"<p>The {wrong - len(maps)} other wrong arrays are not drawn.</p>" if wrong > len(maps) else ""
    return (
        f'<h3>Where the errors are</h3>\n<div class="key">{key}</div>\n'
        f'<div class="maps">{"".join(map(_figure, maps))}</div>{left_out}'
    )


def _figure(heat_map: HeatMap) -> str:
    """Draws a heat map: one path for each class of errors, made of runs of cells along the rows."""
    runs: dict[int, list[str]] = {}
    classes = np.searchsorted(_BOUNDS, heat_map.cells)  # NaN sorts last
    for y, row in enumerate(classes):
        begins = [0, *(np.flatnonzero(np.diff(row)) + 1), len(row)]
        for begin, end in pairwise(begins):
            runs.setdefault(int(row[begin]), []).append(f"M{begin} {y}h{end - begin}v1H{begin}z")
    paths = "".join(f'<path class="e{k}" d="{"".join(path)}"/>' for k, path in sorted(runs.items()))
    height, width = heat_map.cells.shape
    array = heat_map.array
    wrong = f"{wrong_of(array)} wrong"
    name = escape(array.name)
    kind = "strip" if height == 1 else ""
    return (
        f'<figure><figcaption><b>{name}</b> {format_shape(array.shape, "×")}<br><span class="quiet">{wrong}</span>'
        f'</figcaption><svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
        f'preserveAspectRatio="none" shape-rendering="crispEdges" aria-label="{name}: {wrong}">{paths}</svg></figure>'
    )


def _footer() -> str:
    config = show_config("dicts") or {}
    return f'<p class="quiet foot">gradcheck_fast {config["version"]}, instruction set {config["instruction_set"]}</p>'


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    """Writes a table with its title; the cells are HTML already."""
    body = "\n".join(_row("td", row) for row in rows)
    return (
        f'<h3>{title}</h3>\n<div class="scroll"><table>\n<thead>{_row("th", head)}</thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _badge(status: str, text: str) -> str:
    return f'<span class="badge {status.split()[0]}">{escape(text)}</span>'


def _bar(array: ArrayResult) -> str:
    """Draws a relative error as a bar, on a logarithmic scale that ends at 1."""
    error = array.relative_error
    least = 10.0**-_BAR_DECADES
    part = 1.0 if isnan(error) else min(max(1 + log10(max(error, least)) / _BAR_DECADES, 0.0), 1.0)
    return f'<span class="track"><i class="{array.status.split()[0]}" style="width:{part:.0%}"></i></span>'
