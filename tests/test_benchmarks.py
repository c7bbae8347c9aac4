"""The benchmark runs and says what it found; how fast it was is not for a test to judge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from grafana_answers import DASHBOARDS, queries

ROOT = Path(__file__).parents[1]
FIGURES = (
    "publish, events/s",
    "ingest, events/s",
    "per core-second",
    "publish to projections, s",
    "publish to visible, 95 of 100, ms",
    "rebuild, s per million facts",
    "refresh one bucket, ms",
    "parts of events, merged",
    "peak memory, refresh, MiB",
)


@pytest.mark.stack
def test_a_quick_run_prints_every_figure(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "pipeline.py"), "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [figure for figure in FIGURES if not any(figure in line for line in lines)] == []
    assert "…" not in done.stdout, "the table does not fit its width"
    assert list(tmp_path.iterdir()) == [], "it leaves nothing where it is started"


@pytest.mark.stack
def test_every_query_of_every_dashboard_and_alert_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "panels.md"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "panels.py"), "--quick", "--out", str(out)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in out.read_text().splitlines() if line.startswith("| ")][1:]
    measured = {row[0].removeprefix("| ") for row in rows}
    assert measured >= {where for uid in DASHBOARDS for where, _ in queries(uid)}
    assert sum(where.startswith("alert ") for where in measured) > 10
    assert list(tmp_path.iterdir()) == [out], "it leaves nothing else where it is started"


def test_a_quick_run_of_faces_compares_every_method(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "faces.py"), "--quick", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    methods = ("gallery", "hdbscan", "Immich", "PhotoPrism", "agglomerative", "Chinese whispers")
    table = (tmp_path / "out" / "faces.md").read_text()
    assert [method for method in methods if method not in table] == []
    assert "ids kept" in table
    assert "false matches" in table
    assert (tmp_path / "out" / "faces.svg").read_text().rstrip().endswith("</svg>")
