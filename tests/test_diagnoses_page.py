"""The example of docs/diagnoses.md runs as it stands there, and prints what stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "diagnoses.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def without_rounding(text):
    """Words and lines of source, without figures that differ from machine to machine."""
    return re.sub(r"\s+", " ", re.sub(r"to \d+e-\d+|exactly", "#", text)).strip()


def test_its_example_prints_what_the_page_says(tmp_path):
    network, deltas = blocks("python")
    diagnoses, compared = blocks("text")
    (tmp_path / "net.py").write_text(network + deltas, encoding="utf-8")
    ran = subprocess.run([sys.executable, "net.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    printed = without_rounding(ran.stdout)
    assert without_rounding(diagnoses) in printed
    assert printed.endswith(without_rounding(compared))
