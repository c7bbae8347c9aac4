"""What the Export button saves: every panel's rows as CSV, and a picture."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from boards import Board
from grafana_answers import DASHBOARDS, HOSTILE, PANELS
from PIL import Image
from playwright.sync_api import Download
from seeded import SINCE, UNTIL, Seeded

pytestmark = [pytest.mark.browser, pytest.mark.stack]
QUIET = {"row", "text", "alertlist"}


def export(shown: Board, item: str) -> Download:
    shown.page.get_by_role("button", name="Export").click()
    with shown.page.expect_download(timeout=120_000) as download:
        shown.page.get_by_role("menuitem", name=item).click()
    return download.value


def rows_of(archive: zipfile.ZipFile, panel: int) -> list[dict[str, str]]:
    (name,) = [name for name in archive.namelist() if name.startswith(f"{panel:03}_")]
    text = archive.read(name).decode("utf-8-sig").split("\r\n\r\n")[0]
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_the_zip_holds_every_panel(shown: Board, uid: str, tmp_path: Path) -> None:
    shown.open(uid)
    file = tmp_path / "export.zip"
    export(shown, "CSV").save_as(file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        numbers = {int(name[:3]) for name in archive.namelist() if name[:3].isdigit()}
        wanted = {
            number
            for (dashboard, number), panel in PANELS.items()
            if dashboard == uid and panel["type"] not in QUIET
        }
        assert numbers == wanted
        about = archive.read("about.txt").decode()
        assert DASHBOARDS[uid]["title"] in about
        assert SINCE.isoformat(timespec="milliseconds").replace("+00:00", "Z") in about


def test_a_csv_has_exact_numbers(shown: Board, stack: Seeded, tmp_path: Path) -> None:
    galleries = [gallery for gallery in stack.galleries if gallery != HOSTILE]

    def view(name: str) -> list[dict[str, Any]]:
        return stack.oracle.view(name, galleries, SINCE, UNTIL)

    shown.open("gallery", galleries)
    file = tmp_path / "export.zip"
    export(shown, "CSV").save_as(file)
    with zipfile.ZipFile(file) as archive:
        channels = rows_of(archive, 601)
        assert [row["Channel"] for row in channels] == [row["channel"] for row in view("channels")]
        assert [int(row["Visits"]) for row in channels] == [row["visits"] for row in view("channels")]
        for row, expected in zip(channels, view("channels"), strict=True):
            if expected["conversion"] is None:
                assert row["Conversion"] == ""
            else:
                assert float(row["Conversion"]) == pytest.approx(expected["conversion"], rel=1e-12)
        downloads = rows_of(archive, 302)
        assert sum(int(row["Downloads"]) for row in downloads) == view("kpis")[0]["downloads"]
        assert all(row["time"].endswith("Z") for row in downloads)
        people = rows_of(archive, 403)
        assert [int(row["Photos"]) for row in people] == [row["photos"] for row in view("top_people")[:50]]
        totals = rows_of(archive, 101)
        assert int(totals[-1]["in this range"]) == view("kpis")[0]["uploaded"]


def test_the_picture_is_the_whole_dashboard(shown: Board, pictures: Path) -> None:
    shown.open("gallery")
    file = pictures / "export.png"
    export(shown, "Picture").save_as(file)
    with Image.open(file) as picture:
        width, height = picture.size
        assert width >= 1400
        assert height > width
        # Colours in every fifth of it: nothing is blank below the fold.
        for part in range(5):
            strip = picture.convert("RGB").crop((0, height * part // 5, width, height * (part + 1) // 5))
            assert len(strip.resize((200, 200)).getcolors(40_000) or ()) > 50, part
