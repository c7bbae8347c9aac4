"""A report as a zip of Parquet files: one per sheet, typed; methods are metadata of the columns."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from sinks.exports.model import Column, Report, Sheet, Unit

_TYPES = {
    Unit.TEXT: pa.string(),
    Unit.TIME: pa.timestamp("ms", "UTC"),
    Unit.DAY: pa.date32(),
    Unit.COUNT: pa.int64(),
    Unit.BYTES: pa.int64(),
}


def write(report: Report, file: BinaryIO) -> None:
    """`NAME.parquet` per sheet. Fees are decimals, shares and costs doubles, counts 64-bit integers."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for sheet in report.sheets:
            held = io.BytesIO()
            pq.write_table(arrow(sheet), held, compression="zstd")
            archive.writestr(f"{sheet.name}.parquet", held.getvalue())


def arrow(sheet: Sheet) -> pa.Table:
    """A sheet as an Arrow table; the method of a column is its metadata `method`."""
    columns = [[row[at] for row in sheet.rows] for at in range(len(sheet.columns))]
    fields = [
        pa.field(
            column.name,
            _type(column, values),
            metadata={"method": column.method or sheet.method, "unit": column.unit.value},
        )
        for column, values in zip(sheet.columns, columns, strict=True)
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
    return pa.table(arrays, pa.schema(fields, metadata={"title": sheet.title}))


def _type(column: Column, values: list[Any]) -> pa.DataType:
    """By the values where there are some: a unit says how a number is read, not what it is."""
    kinds = {type(value) for value in values if value is not None}
    if Decimal in kinds:
        return pa.decimal128(38, 2)
    if kinds and not kinds <= {int, bool, str, date, datetime}:
        return pa.float64()
    return pa.string() if str in kinds else _TYPES.get(column.unit, pa.float64())
