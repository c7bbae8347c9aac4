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
    """300 made faces: ours finds the people, and every peer has its figures beside it."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "faces.py"), "--quick", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "out" / "faces.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    methods = {row[0]: row[2:5] for row in rows if row[1:2] == ["300"]}
    peers = {"hdbscan", "DBSCAN, Immich", "DBSCAN, PhotoPrism", "agglomerative", "Chinese whispers"}
    assert methods.keys() == {"gallery", *peers}
    scores = {method: [float(figure) for figure in figures] for method, figures in methods.items()}
    f1, precision, _ = scores["gallery"]
    assert f1 > max(scores["hdbscan"][0], scores["DBSCAN, Immich"][0], 0.97)
    assert precision >= 0.97
    later = dict(line[2:].split(": ") for line in text.splitlines() if line.startswith("- "))
    assert float(later["by assign"]) >= float(later["full run"]) - 0.01
    assert float(later["ids kept"]) >= 0.99
    false = {float(row[0]): float(row[1].rstrip("%")) for row in rows if row[-1].endswith("%")}
    assert false[0.82] <= 0.5, "of selfies, at the default, in per cent"
    assert (tmp_path / "out" / "faces.svg").read_text().rstrip().endswith("</svg>")
