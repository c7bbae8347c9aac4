"""Every format, opened by another program; and what may not get into a file. No database."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import openpyxl
import pdfplumber
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import SetupError, Unavailable
from sinks.exports import Range, csv_cell, files, xlsx
from sinks.exports.charts import svg
from sinks.exports.events import whole_stream
from sinks.exports.model import Chart, Column, Report, Section, Sheet, Unit, number, slug

AT = datetime(2026, 6, 12, 22, 30, tzinfo=UTC)
EVIL = [
    "=1+1",
    '=HYPERLINK("http://example.org")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
]
HTML = "<script>alert(1)</script>\"'&<img src=x onerror=y>"


def report(*names: str, title: str = "Gala") -> Report:
    columns = (
        Column("name", "Name", Unit.TEXT, "What people call it"),
        Column("at", "At", Unit.TIME),
        Column("day", "Day", Unit.DAY),
        Column("downloads", "Downloads", Unit.COUNT, "Photos downloaded"),
        Column("rate", "Rate", Unit.SHARE, "downloads / uploaded"),
        Column("size", "Size", Unit.BYTES),
        Column("fee", "Fee", Unit.MONEY),
        Column("value", "Value", Unit.NUMBER, by=("name", {"share": Unit.SHARE})),
    )
    rows = tuple(
        (name, AT, date(2026, 6, 13), 1234567, 0.6875, 3_400_000_000, Decimal("9500.10"), 1 / 3)
        for name in names
    )
    empty = (None, None, None, None, None, None, None, None)
    charts = (
        Chart("bars", "As bars", tuple(names), (("Downloads", tuple(float(n) for n in range(len(names)))),)),
        Chart("columns", "As columns", ("a", "b"), (("one", (1.0, None)), ("two", (2.0, 3.0)))),
        Chart("lines", "As lines", ("1", "2"), (("one", (1.0, 2.0)),), axis="hours"),
    )
    return Report(
        "post-event",
        title,
        "a subtitle",
        ("gala",),
        Range(AT, datetime(2026, 6, 14, tzinfo=UTC)),
        AT,
        (
            Section(
                "First",
                (Sheet("things", "Things", columns, (*rows, ("nothing", *empty[1:])), "All of them"),),
            ),
            Section(
                "Second",
                (
                    Sheet("none", "None", columns[:2], ()),
                    Sheet("drawn", "Drawn", columns, rows, charts=charts),
                ),
            ),
        ),
        "Asia/Tokyo",
    )


def written(made: Report, form: str) -> io.BytesIO:
    file = io.BytesIO()
    files.write(made, form, file)
    file.seek(0)
    return file


def test_csv() -> None:
    with zipfile.ZipFile(written(report("share", "ünï"), "csv")) as archive:
        assert archive.namelist() == ["things.csv", "none.csv", "drawn.csv", "methods.csv"]
        rows = list(csv.reader(io.StringIO(archive.read("things.csv").decode(), newline="")))
        methods = archive.read("methods.csv").decode()
    assert rows[0] == ["name", "at", "day", "downloads", "rate", "size", "fee", "value"]
    assert rows[2][:4] == ["ünï", "2026-06-12T22:30:00.000Z", "2026-06-13", "1234567"]
    assert rows[2][4:] == ["0.6875", "3400000000", "9500.10", repr(1 / 3)]
    assert rows[3] == ["nothing", *[""] * 7]
    assert "Photos downloaded" in methods


def test_json() -> None:
    content = json.load(written(report("share"), "json"))
    assert content["until"] == "2026-06-14T00:00:00.000Z"
    (things, none, _) = content["tables"]
    assert things["rows"][0] == {
        "name": "share",
        "at": "2026-06-12T22:30:00.000Z",
        "day": "2026-06-13",
        "downloads": 1234567,
        "rate": 0.6875,
        "size": 3_400_000_000,
        "fee": "9500.10",
        "value": 1 / 3,
    }
    assert none["rows"] == []
    assert things["columns"][4] == {
        "name": "rate",
        "title": "Rate",
        "unit": "share",
        "method": "downloads / uploaded",
    }


def test_parquet() -> None:
    with zipfile.ZipFile(written(report("share"), "parquet")) as archive:
        table = pq.read_table(io.BytesIO(archive.read("things.parquet")))
        empty = pq.read_table(io.BytesIO(archive.read("none.parquet")))
    assert [str(field.type) for field in table.schema] == [
        "string",
        "timestamp[ms, tz=UTC]",
        "date32[day]",
        "int64",
        "double",
        "int64",
        "decimal128(38, 2)",
        "double",
    ]
    assert table.to_pylist()[0]["fee"] == Decimal("9500.10")
    assert table.to_pylist()[1]["rate"] is None
    assert table.schema.field("downloads").metadata[b"method"] == b"Photos downloaded"
    assert (empty.num_rows, empty.column_names) == (0, ["name", "at"])


def test_xlsx() -> None:
    file = written(report("share", "plain"), "xlsx")
    book = openpyxl.load_workbook(file)
    assert book.sheetnames == ["Report", "Things", "None", "Drawn", "Charts", "Method"]
    page = book["Things"]
    assert [cell.value for cell in page[1]][:4] == ["Name", "At", "Day", "Downloads"]
    cells = page[2]
    assert cells[1].value.isoformat() == "2026-06-13T07:30:00", "on the clocks of Tokyo"
    assert (cells[3].value, cells[3].number_format) == (1234567, "#,##0")
    assert (cells[4].value, cells[4].number_format) == (0.6875, "0.0%")
    assert cells[6].value == 9500.10
    assert (cells[7].number_format, page[3][7].number_format) == ("0.0%", "#,##0.##")
    with zipfile.ZipFile(file) as archive:
        charts = [name for name in archive.namelist() if name.startswith("xl/charts/chart")]
        assert len(charts) == 3
        text = archive.read(charts[0]).decode()
        assert "Charts!$B$2:$B$3" in text.replace("'", "")


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(made: Report) -> Reader:
    reader = Reader()
    reader.feed(written(made, "html").read().decode())
    return reader


def test_html() -> None:
    read = page(report("share", "plain"))
    text = " ".join(read.text)
    for shown in (
        "1,234,567",
        "68.8 %",
        "3.4 GB",
        "9,500.10",
        "2026-06-13 07:30",
        "33.3 %",
        "Photos downloaded",
    ):
        assert shown in text
    assert "Nothing in this range" in text
    assert not [tag for tag, _ in read.tags if tag in ("script", "iframe", "form", "link", "object")]
    assert not [attributes for _, attributes in read.tags if "src" in attributes]
    # The same drawing gives the same ids of its parts: those of two charts must not disturb each other.
    assert len([tag for tag, _ in read.tags if tag == "svg"]) == 3


def test_pdf() -> None:
    made = report(*[f"thing {at}" for at in range(40)])
    with pdfplumber.open(written(made, "pdf")) as document:
        texts = [one.extract_text() for one in document.pages]
        last = len(document.pages)
        words = [word for one in document.pages for word in one.extract_words()]
        width = float(document.pages[0].width)
        assert document.metadata["Title"] == "Gala: Post-event report"
    assert all(f"page {at} of {last}" in text for at, text in enumerate(texts, 1))
    assert all("Gala" in text for text in texts)
    assert all(word["x0"] >= 0 and word["x1"] <= width for word in words), "nothing is cut at the edge"
    whole = "\n".join(texts)
    for shown in ("1,234,567", "68.8 %", "3.4 GB", "9,500.10", "2026-06-13 07:30", "Photos downloaded"):
        assert shown in whole
    assert "and 16 more rows" in whole


def test_a_wide_table_and_long_words_stay_on_the_page() -> None:
    columns = tuple(Column(f"c{at}", f"Column number {at}", Unit.COUNT) for at in range(11))
    long = Column("name", "Name", Unit.TEXT)
    rows = tuple(("x" * 300, *[123456] * 11) for _ in range(3))
    sheet = Sheet("wide", "Wide", (long, *columns), rows)
    made = replace(report("a"), sections=(Section("Wide", (sheet,)),), title="W" * 200)
    with pdfplumber.open(written(made, "pdf")) as document:
        width = float(document.pages[0].width)
        for one in document.pages:
            assert all(word["x1"] <= width for word in one.extract_words())
        assert "123,456" in document.pages[0].extract_text()


@pytest.mark.parametrize("text", EVIL)
def test_no_cell_is_a_formula(text: str) -> None:
    assert csv_cell(text) == f"'{text}"
    made = report(text, title=text)
    with zipfile.ZipFile(written(made, "csv")) as archive:
        for name in archive.namelist():
            for row in csv.reader(io.StringIO(archive.read(name).decode(), newline="")):
                assert not [
                    cell for cell in row if cell.lstrip(" ")[:1] in "=+@\t\r\n\uff1d" and cell.strip()
                ]
    with zipfile.ZipFile(written(made, "xlsx")) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/sheet"):
                tree = ET.fromstring(archive.read(name))
                assert not [one for one in tree.iter() if one.tag.endswith("}f")], "a formula"
                assert not [one for one in tree.iter() if one.tag.endswith("}hyperlink")]


def test_numbers_are_no_formulas() -> None:
    assert csv_cell(-5) == -5
    assert csv_cell("a=b") == "a=b"
    assert csv_cell("") == ""


def test_html_in_names_stays_text() -> None:
    made = report(HTML, title=HTML)
    read = page(made)
    assert not [tag for tag, _ in read.tags if tag in ("script", "img")]
    assert HTML in "".join(read.text)
    drawing = Chart(
        "bars", HTML, (HTML, "$\\frac{", "--><script>"), ((HTML, (1.0, 2.0, 3.0)), ("b", (1.0, 2.0, 3.0)))
    )
    text = svg(drawing)
    ET.fromstring(text)
    assert "<script" not in text
    assert "<img" not in text
    written(made, "pdf")


@pytest.mark.parametrize("title", ["../../etc/passwd", "..\\x", "/abs", "a\0b", "CON", "", "ü/ö", ".hidden"])
def test_file_names_hold_no_paths(title: str, tmp_path: Path) -> None:
    made = report("a", title=title)
    assert "/" not in made.file_name
    assert "\\" not in made.file_name
    assert not made.file_name.startswith((".", "-"))
    path = files.save(made, "json", tmp_path)
    assert path.parent == tmp_path
    assert list(tmp_path.iterdir()) == [path], "no half of a file is left"


def test_names_of_sheets_are_those_that_excel_takes() -> None:
    sheets = tuple(
        Sheet(f"s{at}", title, (Column("a", "A", Unit.COUNT),), ((1,),))
        for at, title in enumerate(["[x]:*?/\\", "x" * 50, "x" * 50, "Charts", "'quoted'", "History"])
    )
    made = replace(report("a"), sections=(Section("All", sheets),))
    names = openpyxl.load_workbook(written(made, "xlsx")).sheetnames
    assert len({name.lower() for name in names}) == len(names)
    assert all(len(name) <= 31 for name in names)


def test_more_rows_than_excel_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "ROWS", 3)
    with pytest.raises(SetupError, match="take CSV or Parquet"):
        written(report("a", "b", "c"), "xlsx")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be written"):
        files.save(report("a"), "json", tmp_path / "missing" / "x.json")
    with pytest.raises(SetupError, match="no format"):
        files.save(report("a"), "docx", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, Unit.COUNT, "-"),
        (1234567, Unit.COUNT, "1,234,567"),
        (0.5, Unit.SHARE, "50.0 %"),
        (-0.25, Unit.CHANGE, "-25.0 %"),
        (0, Unit.BYTES, "0 B"),
        (Decimal("1234.50"), Unit.MONEY, "1,234.50"),
        (2.0, Unit.NUMBER, "2"),
        (2.345, Unit.NUMBER, "2.35"),
    ],
)
def test_numbers_for_people(value: Any, unit: Unit, shown: str) -> None:
    assert number(value, unit) == shown


def test_slugs() -> None:
    assert slug("Spree Tech Summit, 2026!") == "spree-tech-summit-2026"
    assert slug("../..") == "report"
    assert len(slug("x" * 500)) == 60


def test_a_stream_that_breaks_off_is_no_shorter_export() -> None:
    """Arrow itself takes a stream that was cut between two batches for a whole one."""
    batch = pa.record_batch({"a": list(range(1000))})
    whole = io.BytesIO()
    with pa.ipc.new_stream(whole, batch.schema) as writer:
        for _ in range(3):
            writer.write_batch(batch)
    raw = whole.getvalue()
    assert sum(one.num_rows for one in whole_stream(io.BytesIO(raw))) == 3000
    size = batch.get_total_buffer_size() // 2
    for cut in (len(raw) - 8, len(raw) - 9, len(raw) - 8 - size, len(raw) // 2, 10):
        with pytest.raises(Unavailable, match="broke off"):
            list(whole_stream(io.BytesIO(raw[:cut])))
