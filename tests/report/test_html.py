"""The report as HTML: complete, well-formed, self-contained, and nothing in it is taken for markup."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.comparison.results import known
from gradcheck_fast.diagnosis.diagnose import Diagnosis
from gradcheck_fast.report.html import fragment, page

VOID = {"meta", "br", "rect", "path"}


class Reader(HTMLParser):
    """Collects the text and the elements, and checks that tags are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.elements, self.rows = [], "", [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def row(self, name):
        return next(row for row in self.rows if row[0] == name)

    def count(self, tag):
        return sum(element == tag for element, _ in self.elements)


def check(gradient, params=None):
    """Of a loss with gradient 1 everywhere."""
    params = params or {name: np.ones_like(array) for name, array in gradient.items()}
    return gf.gradcheck(lambda p: sum(float(np.sum(array)) for array in p.values()), gradient, params, step=0.25)


@pytest.fixture
def good():
    return check({"W": np.ones((2, 3)), "b": np.ones(3)})


@pytest.fixture
def bad():
    return check({"W": np.array([[1.0, 1.0, -2.5], [1.0, 1.0, 1.0]]), "b": np.ones(3)})


def test_a_pass_says_so_in_words(good):
    html = Reader(page(good))
    assert "gradcheck: PASS every entry agrees" in html.text
    assert html.row("W")[1:] == ["2×3", "0.0e+00", "", "0.0e+00", "0 of 6", "✓ right"]
    assert html.row("total")[5] == "0 of 9"
    assert "Worst" not in html.text
    assert "Where the errors are" not in html.text


def test_a_failure_names_arrays_and_entries(bad):
    html = Reader(page(bad))
    assert "gradcheck: FAIL 1 of 9 entries are wrong, in W" in html.text
    assert html.row("W")[5:] == ["1 of 6", "✗ wrong"]
    assert html.row("b")[5:] == ["0 of 3", "✓ right"]
    assert html.row("W[0, 2]")[:3] == ["W[0, 2]", "-2.5", "1"]


def test_it_says_how_it_was_found(bad):
    text = Reader(fragment(bad)).text
    config = gf.show_config("dicts")
    for part in ("9 entries", "method direct", "h 0.25", gf.__version__, config["instruction_set"]):
        assert part in text


def test_notes_diagnoses_kinks_and_inconclusive_entries(bad):
    arrays = (dataclasses.replace(bad.arrays[0], at_kink=4), dataclasses.replace(bad.arrays[1], inconclusive=3))
    notes, diagnoses = ("first",), (Diagnosis("second", "third", ("W",)), Diagnosis("fourth", "fifth", ("b",)))
    html = Reader(page(dataclasses.replace(bad, arrays=arrays, notes=notes, diagnoses=diagnoses)))
    for part in ("Note: first", "Most likely: second", "third", "Also: fourth", "fifth"):
        assert part in html.text
    assert html.row("array")[6:8] == ["at kinks", "inconclusive"]
    assert html.row("W")[6:] == ["4", "0", "✗ wrong"]
    assert html.row("b")[6:] == ["0", "3", "? inconclusive"]
    assert html.row("total")[6:8] == ["4", "3"]
    assert "at kinks" not in page(bad)


def test_error_bars_belong_to_their_entries():
    params = {"a": np.ones(2), "b": np.ones(2)}
    report = check({"a": np.array([1.0, 2.0]), "b": np.array([3.0, 1.0])}, params)
    bars = {"b": np.array([3e-5, 4e-5]), "a": np.array([1e-5, 2e-5])}
    html = Reader(page(dataclasses.replace(report, error_bars=bars)))
    assert html.row("entry")[3] == "error bar"
    assert html.row("a[1]")[3] == "± 2.0e-05"
    assert html.row("b[0]")[3] == "± 3.0e-05"
    assert "error bar" not in page(dataclasses.replace(report, error_bars=None))


@pytest.mark.parametrize("params", [1.5, np.ones(2), [np.ones(2), 3.0], {"x": {"y": np.ones((1, 2))}}])
def test_error_bars_of_any_tree(params):
    report = gf.gradcheck(lambda p: 0.0, params, params)
    html = Reader(page(dataclasses.replace(report, error_bars=report.numerical)))
    assert html.text.count("± 0.0e+00") == report.checked


def test_names_and_words_are_not_taken_for_markup(bad):
    evil = "<script>\"&'</script>"
    report = check({evil: np.array([5.0])})
    report = dataclasses.replace(report, notes=(evil,), diagnoses=(Diagnosis(evil, evil, ()),))
    html = Reader(page(report))
    assert html.count("script") == 0
    assert html.text.count(evil) == 7  # headline, note, cause, evidence, both tables, heat map
    assert [a["aria-label"] for tag, a in html.elements if tag == "svg" and "aria-label" in a] == [
        f"{evil}: 1 of 1 wrong"
    ]


def test_nothing_outside_the_page_is_needed(bad):
    html = page(bad)
    assert not re.search(r"https?:|src=|href=|url\(|@import|<link|<script", html)
    assert Reader(html).count("style") == 2


def test_the_page_has_light_and_dark_and_the_fragment_no_ground_of_its_own(bad):
    assert "color-scheme:light dark" in page(bad)
    assert fragment(bad) in page(bad)
    style = fragment(bad).split("</style>")[0]
    assert "body" not in style
    assert all(rule.startswith(".gradcheck-fast") for rule in style.split("<style>")[1].strip().splitlines())


def test_a_notebook_shows_the_fragment(bad):
    assert bad._repr_html_() == fragment(bad)


# ---- heat maps


def classes(html):
    """The class of each cell of the first heat map, by what its paths draw."""
    path = re.search(r'viewBox="0 0 (\d+) (\d+)" role.*?</svg>', html, re.S)
    cells = np.full((int(path[2]), int(path[1])), -1)
    for kind, d in re.findall(r'<path class="e(\d)" d="([^"]+)"', path[0]):
        for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1H\1z", d):
            assert (cells[int(y), int(x) : int(x) + int(width)] == -1).all()
            cells[int(y), int(x) : int(x) + int(width)] = int(kind)
    return cells


def test_each_cell_is_drawn_once_in_the_class_of_its_error():
    gradient = {"W": np.array([[1.0, 1.0, 2.0], [np.nan, 1.0 + 4e-4, 1e9]])}
    html = page(gf.gradcheck(lambda p: float(p["W"].sum()), gradient, {"W": np.ones((2, 3))}, rtol=0.0, atol=1e-3))
    assert classes(html).tolist() == [[0, 0, 5], [8, 3, 7]]


def test_large_arrays_are_reduced_and_no_wrong_entry_is_lost():
    params = np.ones((500, 400))
    gradient = params.copy()
    gradient[321, 123] = 2.0
    comparison = check({"small": np.array([3.0])})  # only its way of comparing is wanted: 400,000 calls take long
    report = dataclasses.replace(
        comparison,
        arrays=(dataclasses.replace(comparison.arrays[0], name="W", shape=(500, 400), size=200_000, wrong=1),),
        _flat=(gradient.ravel(), params.ravel()),
        _find_excess=known(np.where(gradient == 2.0, 1e3, 0.0).ravel()),
        error_bars=None,
    )
    html = page(report)
    assert len(html) < 20_000
    cells = classes(html)
    assert (cells > 3).sum() == 1
    assert cells[321 * 32 // 500, 123 * 48 // 400] == 5


def test_many_wrong_arrays_show_the_worst_and_say_how_many_are_left_out():
    report = check({f"a{k}": np.full(2, 2.0 + k) for k in range(60)})
    html = Reader(page(report))
    assert html.count("figure") == 12
    assert "The 48 other wrong arrays are not drawn." in html.text
    assert len([row for row in html.rows if row[-1] == "✗ wrong"]) == 60


@pytest.mark.parametrize(
    ("loss", "gradient", "params"),
    [
        (lambda p: 1.0, {}, {}),
        (lambda p: 1.0 if (p == 1.0).all() else np.nan, np.ones(3), np.ones(3)),
        (lambda p: p**2, 5.0, 1.5),
        (lambda p: float(p.sum()), np.full((2, 2, 2), np.inf), np.ones((2, 2, 2))),
        (lambda p: float(p[1].sum()), [np.empty((0, 2)), np.zeros(2)], [np.empty((0, 2)), np.ones(2)]),
        (lambda p: float(p.sum()), -np.ones(3), np.ones(3)),
    ],
    ids=["nothing", "nan", "scalar", "infinite", "empty", "relative-error-infinite"],
)  # fmt: skip
def test_any_report_is_well_formed(loss, gradient, params):
    report = gf.gradcheck(loss, gradient, params, step=0.25)
    assert not report.ok
    assert report.verdict in Reader(page(report)).text
