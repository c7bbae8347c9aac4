"""Raw events as one file, streamed: memory does not grow with their number."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, BinaryIO, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import xlsxwriter
from clickhouse_connect.driver.client import Client

from schemas.errors import SetupError, Unavailable
from sinks.exports.views import FORMULA, Range, bound, plain
from sinks.exports.xlsx import OPTIONS, ROWS, cell

FORMATS: Final[Mapping[str, tuple[str, str]]] = {
    "csv": ("csv", "text/csv; charset=utf-8"),
    "json": ("jsonl", "application/x-ndjson"),
    "parquet": ("parquet", "application/vnd.apache.parquet"),
    "xlsx": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
}
"""Format → ending of the file, media type."""

MOST_IN_XLSX: Final = 2_000_000
"""Excel needs more memory for more rows than most machines have."""

_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""How an Arrow stream ends."""

_SELECT: Final = """SELECT * EXCEPT (content, topic, partition, offset, inserted_at)
REPLACE (toString(event_id) AS event_id) FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)}
AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}"""
_COUNT: Final = f"SELECT count() FROM ({_SELECT})"  # noqa: S608 - our own text
_HOURS: Final = """SELECT gallery_id, toStartOfHour(occurred_at) AS hour, count() FROM events
WHERE gallery_id IN {galleries:Array(String)}
AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
GROUP BY gallery_id, hour ORDER BY gallery_id, hour"""
_SLICE: Final = 200_000
Progress = Callable[[int], None]


def count(client: Client, galleries: Sequence[str], within: Range) -> int:
    """How many events an export would have."""
    return int(client.query(_COUNT, parameters=_parameters(galleries, within)).result_rows[0][0])


def write(
    client: Client,
    galleries: Sequence[str],
    within: Range,
    form: str,
    file: BinaryIO,
    *,
    on_rows: Progress = lambda _rows: None,
) -> int:
    """Write the events of some galleries and a range; returns their number. Order is not promised.

    A column per field of events; visitors are pseudonyms, names are in no event. CSV: text like a formula
    has an apostrophe before it. Raises SetupError when the format cannot hold them.
    """
    if form == "xlsx" and (rows := count(client, galleries, within)) > MOST_IN_XLSX:
        raise SetupError(f"{rows:,} events are too many for Excel ({MOST_IN_XLSX:,}): take CSV or Parquet")
    written = 0
    with closing(_opened(form, file)) as sink:
        for batch in _batches(client, galleries, within):
            sink.write(batch)
            written += batch.num_rows
            on_rows(batch.num_rows)
    return written


def stream(
    client: Client, galleries: Sequence[str], within: Range, form: str, on_rows: Progress = lambda _rows: None
) -> Iterator[bytes]:
    """The bytes of the same file, while they are made; of a format that needs no second look (not xlsx)."""
    held = _Held()
    with closing(_opened(form, held)) as sink:
        for batch in _batches(client, galleries, within):
            sink.write(batch)
            on_rows(batch.num_rows)
            if chunk := held.taken():
                yield chunk
    yield held.taken()


def _batches(client: Client, galleries: Sequence[str], within: Range) -> Iterator[pa.RecordBatch]:
    """The events, slice by slice: a reader's query may only take so long."""
    empty = True
    for gallery, part in _slices(client, galleries, within):
        with client.raw_stream(_SELECT, parameters=_parameters([gallery], part), fmt="ArrowStream") as source:
            for batch in whole_stream(source):
                empty = False
                yield batch
    if empty:  # the file still has its columns
        schema = client.query_arrow(f"{_SELECT} LIMIT 0", parameters=_parameters(galleries, within)).schema
        yield pa.RecordBatch.from_pylist([], schema)


def _slices(client: Client, galleries: Sequence[str], within: Range) -> Iterator[tuple[str, Range]]:
    """The range of every gallery in parts that touch, of whole hours with about `_SLICE` events."""
    rows = client.query(_HOURS, parameters=_parameters(galleries, within)).result_rows
    for gallery, hours in groupby(rows, key=lambda row: row[0]):
        since, held = within.since, 0
        for _, hour, events in hours:
            if held and held + events > _SLICE:
                until = hour.replace(tzinfo=UTC)
                yield gallery, Range(since, until)
                since, held = until, 0
            held += events
        yield gallery, Range(since, within.until)


def whole_stream(source: Any) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow stream. Raises Unavailable when it breaks off.

    Arrow takes the end of the bytes for the end of the stream: a connection that was cut between two
    batches would pass for fewer events. So the mark of the end has to be there.
    """
    watched = _Tail(source)
    try:
        with pa.ipc.open_stream(watched) as reader:
            yield from reader
    except (pa.ArrowInvalid, OSError) as error:
        raise Unavailable(f"the database broke off in the middle of the events: {error}") from error
    watched.read(1)
    if watched.tail != _END:
        raise Unavailable("the database broke off in the middle of the events: export them again")


class _Tail(io.RawIOBase):
    """A source that remembers the last eight bytes that were read from it."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source
        self.tail = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part: bytes = self._source.read(size) if size >= 0 else self._source.read()
        self.tail = (self.tail + part[-len(_END) :])[-len(_END) :]
        return part


def _parameters(galleries: Sequence[str], within: Range) -> dict[str, Any]:
    return {
        "galleries": list(galleries),
        "since": bound(within.since),
        "until": bound(within.until),
    }


class _Sink(Protocol):
    def write(self, batch: pa.RecordBatch) -> None: ...
    def close(self) -> None: ...


def _opened(form: str, file: Any) -> _Sink:
    sinks: Mapping[str, Callable[[Any], _Sink]] = {
        "csv": _Csv,
        "json": _Json,
        "parquet": _Parquet,
        "xlsx": _Xlsx,
    }
    if form not in sinks:
        raise SetupError(f"there is no format {form!r} for events: choose among {', '.join(sinks)}")
    return sinks[form](file)


class _Csv:
    """Arrays as JSON in a cell."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writer: pcsv.CSVWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [_csv_column(column) for column in batch.columns]
        flat = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
        if self._writer is None:
            self._writer = pcsv.CSVWriter(self._file, flat.schema)
        self._writer.write_batch(flat)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Json:
    """An object a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, batch: pa.RecordBatch) -> None:
        lines = (
            json.dumps({key: plain(value) for key, value in row.items()}, ensure_ascii=False)
            for row in batch.to_pylist()
        )
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """Nothing is held back."""


class _Parquet:
    """A row group per block of the database."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, batch.schema, compression="zstd")
        self._writer.write_batch(batch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Xlsx:
    """Sheets of as many rows as Excel takes."""

    def __init__(self, file: BinaryIO) -> None:
        self._book = xlsxwriter.Workbook(file, OPTIONS)
        self._time = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
        self._plain = self._book.add_format()
        self._page: Any = None
        self._line = ROWS

    def write(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            if self._line >= ROWS:
                self._page = self._book.add_worksheet()
                self._page.freeze_panes(1, 0)
                for at, name in enumerate(row):
                    self._page.write_string(0, at, name)
                self._line = 1
            for at, value in enumerate(row.values()):
                form = self._time if isinstance(value, datetime) else self._plain
                shown = json.dumps(value) if isinstance(value, list) else value
                if shown not in ("", None):
                    cell(self._page, (self._line, at), shown, form)
            self._line += 1

    def close(self) -> None:
        self._book.close()


class _Held(io.RawIOBase):
    """What was written and not yet taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._place = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def write(self, part: Any) -> int:
        raw = bytes(part)
        self._parts.append(raw)
        self._place += len(raw)
        return len(raw)

    def taken(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole


def _csv_column(column: pa.Array) -> pa.Array:
    """As `csv_cell` does it, a column at a time."""
    kind = column.type
    if pa.types.is_list(kind):
        return pa.array([json.dumps(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_timestamp(kind):
        return pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_string(kind):
        risky = pc.match_substring_regex(column, f"^(?:{FORMULA.pattern})")
        return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
    return column
