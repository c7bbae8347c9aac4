"""A report as a PDF: A4 upright, a header and page numbers, tables whose heads repeat, charts as outlines."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

import matplotlib as mpl
from fpdf import FPDF, FontFace
from fpdf.enums import Align, TableBordersLayout, WrapMode, XPos, YPos

from sinks.exports.charts import svg
from sinks.exports.html import LEFT, kind, mark, methods, text
from sinks.exports.model import Report, Sheet, Unit

MARGIN: Final = 16.0
_INK: Final = (31, 39, 51)
_SOFT: Final = (91, 100, 114)
_BRAND: Final = (47, 95, 168)
_PALE: Final = (243, 246, 251)
_LINE: Final = (217, 221, 228)
_MARKS: Final = {"ok": (46, 125, 50), "low": (178, 91, 0), "none": _SOFT, "": _INK}
_WHITE: Final = (255, 255, 255)
_PAGE: Final = 255.0
_STRETCH: Final = 2.2
"""How much wider than its words a table may be: numbers far from their names are hard to follow."""

_LEAST_FONT: Final = 6.0
_LEAST_TEXT: Final = 16.0
_CARDS: Final = 4

logging.getLogger("fpdf").setLevel(logging.ERROR)  # it tells of every SVG tag it passes over
logging.getLogger("fontTools").setLevel(logging.ERROR)


def write(report: Report, file: BinaryIO) -> None:
    """The document. The font has Latin, Greek, Cyrillic and Arabic letters; others are boxes."""
    page = _Pages(report)
    page.add_page()
    page.opening()
    for section in report.sections:
        page.section(section.title, section.text, _first_height(page, section.sheets))
        for sheet in section.sheets:
            if sheet.in_documents:
                page.sheet(sheet, section.title)
    page.methods()
    page.output(file)


def _first_height(page: _Pages, sheets: Sequence[Sheet]) -> float:
    return page.opening_height(sheets[0]) if sheets else 0.0


class _Pages(FPDF):
    """The pages of one report; every method writes below what is there."""

    def __init__(self, report: Report) -> None:
        super().__init__(format="A4")
        self.report = report
        folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
        self.add_font("body", "", folder / "DejaVuSans.ttf")
        self.add_font("body", "B", folder / "DejaVuSans-Bold.ttf")
        self.set_margins(MARGIN, 22, MARGIN)
        self.set_auto_page_break(auto=True, margin=20)
        self.set_title(f"{report.title}: {kind(report)}")
        self.set_creator("Gallery Analytics")
        self.set_lang("en")
        self.set_creation_date(report.made_at)
        self.set_draw_color(*_LINE)
        self._charts: dict[int, tuple[bytes, float]] = {}

    def header(self) -> None:
        """On every page but the first: which report this is."""
        if self.page_no() == 1:
            return
        words = f"{kind(self.report)}  ·  {self.report.title}"
        self._write(8, words, _SOFT, at=(MARGIN, 10))
        self.line(MARGIN, 16, self.w - MARGIN, 16)
        self.set_y(22)

    def footer(self) -> None:
        """The range and the page's number."""
        self._write(7.5, self.report.span, _SOFT, at=(MARGIN, self.h - 14))
        self.set_xy(MARGIN, self.h - 14)
        self.cell(self.epw, 4, f"page {self.page_no()} of {{nb}}", align=Align.R)

    def opening(self) -> None:
        """Title, range and galleries, at the top of the first page."""
        self.set_fill_color(*_BRAND)
        self.rect(0, 0, self.w, 6, style="F")
        self.set_y(18)
        self._text(9, kind(self.report).upper(), _BRAND, bold=True)
        self._text(20, self.report.title, _INK, bold=True)
        self._text(10, self.report.span, _INK)
        self._text(9, self.report.subtitle, _SOFT)
        made = self.report.text(self.report.made_at, Unit.TIME)
        self._text(8, f"Made {made} ({self.report.zone}) by Gallery Analytics", _SOFT)
        self.ln(2)

    def section(self, title: str, words: str, follows: float) -> None:
        """A heading, on a new page if what follows would not begin on this one."""
        self._room(16 + follows)
        self.ln(5)
        self.start_section(title)
        self._text(14, title, _BRAND, bold=True)
        self.line(MARGIN, self.get_y() + 0.5, self.w - MARGIN, self.get_y() + 0.5)
        self.ln(2)
        if words:
            self._text(8.5, words, _SOFT)

    def sheet(self, sheet: Sheet, section: str) -> None:
        """Its title, its charts and its table: as much of it as can stay together does."""
        self._room(self.opening_height(sheet))
        if sheet.title != section:
            self.ln(3)
            self._text(10.5, sheet.title, _INK, bold=True)
            self.ln(0.5)
        if sheet.cards:
            self._cards(sheet)
            return
        for at, chart in enumerate(sheet.charts):
            drawn, height = self._chart(sheet, at)
            self._room(height + 6)
            if chart.title != sheet.title:
                self._text(8.5, chart.title, _SOFT)
            self.image(io.BytesIO(drawn), w=self.epw, h=height)
            self.ln(1)
        if not sheet.rows:
            self._text(9, sheet.empty, _SOFT)
        elif sheet.shown:
            self._table(sheet)
        self.ln(2)

    def opening_height(self, sheet: Sheet) -> float:
        """Height of what may not be torn from a sheet's title: cards, a chart, the first rows of a table."""
        title = 10.0
        if sheet.cards:
            return title + 15.0 * -(-len(sheet.for_people) // _CARDS)
        if sheet.charts:
            return title + self._chart(sheet, 0)[1] + 6
        return title + 10 + 7.0 * min(len(sheet.rows), sheet.shown, 4)

    def methods(self) -> None:
        """How every number is made."""
        self.section("How these numbers are made", "", 30)
        self._text(
            8.5,
            "Every event counts once, however often it was sent. The range is from its first instant to "
            "before its last one. Visitors are pseudonyms.",
            _SOFT,
        )
        for title, about, told in methods(self.report):
            self._room(18)
            self.ln(2)
            self._text(9.5, title, _INK, bold=True)
            if about:
                self._text(8, about, _SOFT)
            for name, method in told:
                self._room(8)
                self.set_font("body", "B", 8)
                self.set_text_color(*_INK)
                top = self.get_y()
                self.multi_cell(42, 4, name, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
                below = self.get_y()
                self.set_xy(MARGIN + 44, top)
                self.set_font("body", "", 8)
                self.multi_cell(self.epw - 44, 4, method, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
                self.set_y(max(below, self.get_y()) + 0.8)

    def _chart(self, sheet: Sheet, at: int) -> tuple[bytes, float]:
        """The drawing and its height in mm at the width of the page."""
        chart = sheet.charts[at]
        if id(chart) not in self._charts:
            drawn = svg(chart)
            width, height = (
                float(drawn.split(f' {name}="', 1)[1].split("pt", 1)[0]) for name in ("width", "height")
            )
            self._charts[id(chart)] = (drawn.encode(), self.epw * height / width)
        return self._charts[id(chart)]

    def _cards(self, sheet: Sheet) -> None:
        width, height, gap = (self.epw - 3 * (_CARDS - 1)) / _CARDS, 13.0, 3.0
        top = self.get_y() + 1
        for row in sheet.rows[:1]:
            for number, at in enumerate(sheet.for_people):
                x = MARGIN + (number % _CARDS) * (width + gap)
                y = top + number // _CARDS * (height + 2)
                self.set_fill_color(*_PALE)
                self.rect(x, y, width, height, style="F", round_corners=True, corner_radius=1)
                self._write(7, sheet.columns[at].title, _SOFT, at=(x + 2, y + 1.5), width=width - 3)
                value = text(self.report, sheet, at, row)
                self._write(
                    12 if len(value) < 16 else 8, value, _INK, at=(x + 2, y + 6), bold=True, width=width - 3
                )
        self.set_y(top + -(-len(sheet.for_people) // _CARDS) * (height + 2))

    def _table(self, sheet: Sheet) -> None:
        places = sheet.for_people
        rows = sheet.rows[: sheet.shown]
        cells = [[text(self.report, sheet, at, row) for at in places] for row in rows]
        titles = [sheet.columns[at].title for at in places]
        texts = [sheet.columns[at].unit is Unit.TEXT for at in places]
        font, widths = self._widths(titles, cells, texts)
        height = self._table_height(font, widths, [titles, *cells])
        left = self.page_break_trigger - self.get_y()
        if height > left and (height < _PAGE / 2 or left < _PAGE / 4):
            self.add_page()  # rather than a few rows on either side
        self.set_font("body", "", font)
        self.set_text_color(*_INK)
        self.set_fill_color(*_WHITE)
        with self.table(
            col_widths=widths,
            width=min(self.epw, sum(widths)),
            align=Align.L,
            text_align=tuple(Align.L if sheet.columns[at].unit in LEFT else Align.R for at in places),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="BOLD", color=_SOFT, fill_color=_PALE),
            line_height=font * 0.5,
            padding=(1, 1),
            wrapmode=WrapMode.WORD,
        ) as grid:
            grid.row(titles)
            for row, line in zip(rows, cells, strict=True):
                drawn = grid.row()
                for at, cell in zip(places, line, strict=True):
                    color = _MARKS[mark(sheet.columns[at], row[at])]
                    drawn.cell(cell, style=FontFace(color=color) if color != _INK else None)
        if len(sheet.rows) > sheet.shown:
            more = len(sheet.rows) - sheet.shown
            self._text(8, f"and {more:,} more rows, in the Excel, CSV, JSON and Parquet files", _SOFT)

    def _widths(
        self, titles: Sequence[str], cells: Sequence[Sequence[str]], texts: Sequence[bool]
    ) -> tuple[float, list[float]]:
        """The greatest font size at which every number stands on one line, and the columns' widths.

        Columns of text share what numbers leave over, in proportion to their longest line.
        """
        font = 8.0
        while True:
            self.set_font("body", "B", font)
            pad = 2.6
            heads = [max(map(self.get_string_width, title.split() or [""])) + pad for title in titles]
            self.set_font("body", "", font)
            longest = [
                max((self.get_string_width(line[at]) for line in cells), default=0.0) + pad
                for at in range(len(titles))
            ]
            wanted = [max(pair) for pair in zip(heads, longest, strict=True)]
            least = [
                max(head, min(wish, _LEAST_TEXT)) if is_text else wish
                for head, wish, is_text in zip(heads, wanted, texts, strict=True)
            ]
            if sum(least) <= self.epw or font <= _LEAST_FONT:
                break
            font -= 0.5
        spare = max(0.0, self.epw - sum(least))
        wishes = [wish - one for wish, one in zip(wanted, least, strict=True)]
        if sum(wishes) > spare:
            return font, [one + spare * wish / sum(wishes) for one, wish in zip(least, wishes, strict=True)]
        share = min(self.epw / sum(wanted), _STRETCH)
        return font, [wish * share for wish in wanted]

    def _table_height(self, font: float, widths: Sequence[float], lines: Sequence[Sequence[str]]) -> float:
        """About how high a table gets."""
        self.set_font("body", "", font)
        rows = (
            max(
                -(-self.get_string_width(cell) // (width - 2.2))
                for cell, width in zip(line, widths, strict=True)
            )
            for line in lines
        )
        return sum(max(1.0, row) * font * 0.5 + 2 for row in rows)

    def _room(self, height: float) -> None:
        """A new page unless that much fits on this one; never two in a row."""
        if self.get_y() + height > self.page_break_trigger and self.get_y() > 40:
            self.add_page()

    def _text(self, size: float, words: str, color: tuple[int, int, int], *, bold: bool = False) -> None:
        self.set_font("body", "B" if bold else "", size)
        self.set_text_color(*color)
        self.multi_cell(self.epw, size * 0.48, words, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _write(
        self,
        size: float,
        words: str,
        color: tuple[int, int, int],
        *,
        at: tuple[float, float],
        bold: bool = False,
        width: float | None = None,
    ) -> None:
        """One line at a place, cut where it would leave `width` (the page's unless told)."""
        self.set_font("body", "B" if bold else "", size)
        self.set_text_color(*color)
        room = width or self.epw
        while self.get_string_width(words) > room and len(words) > 1:
            words = f"{words[:-2]}…"
        self.set_xy(*at)
        self.cell(room, size * 0.45, words)
