"""Reports as files: the formats there are, and one written so that no half of it is ever seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Final

from schemas.errors import SetupError
from sinks.exports.model import Report


@dataclass(frozen=True)
class Format:
    """A format: the module of this package that writes it, the ending of its files, its media type."""

    module: str
    ending: str
    media_type: str


FORMATS: Final[Mapping[str, Format]] = {
    "pdf": Format("pdf", "pdf", "application/pdf"),
    "html": Format("html", "html", "text/html; charset=utf-8"),
    "xlsx": Format("xlsx", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "csv": Format("csv_zip", "csv.zip", "application/zip"),
    "json": Format("json_file", "json", "application/json"),
    "parquet": Format("parquet", "parquet.zip", "application/zip"),
}


def write(report: Report, form: str, file: BinaryIO) -> None:
    """Write the report. Raises SetupError on an unknown format and when the extra `exports` is missing."""
    writer(form)(report, file)


def writer(form: str) -> Callable[[Report, BinaryIO], None]:
    """What writes a format; its library is loaded here. Raises SetupError."""
    if form not in FORMATS:
        raise SetupError(f"there is no format {form!r}: choose among {', '.join(FORMATS)}")
    try:
        module = import_module(f"sinks.exports.{FORMATS[form].module}")
    except ModuleNotFoundError as missing:
        raise missing_extra(missing) from None
    writes: Callable[[Report, BinaryIO], None] = module.write
    return writes


def missing_extra(missing: ModuleNotFoundError) -> SetupError:
    """The error that says how to install what an export needs."""
    return SetupError(f"exports need {missing.name}: pip install 'gallery-analytics[exports]'")


def save(report: Report, form: str, target: Path) -> Path:
    """Write the report to a file, or into a folder under its own name; returns the file.

    The file appears whole or not at all. Raises SetupError.
    """
    writes = writer(form)
    path = target / f"{report.file_name}.{FORMATS[form].ending}" if target.is_dir() else target
    return appear(path, lambda file: writes(report, file))


def appear(path: Path, fill: Callable[[BinaryIO], None]) -> Path:
    """A file that is seen only once `fill` has written all of it. Raises SetupError when it cannot be."""
    part = path.with_name(f".{path.name[:100]}.{token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            fill(file)
        part.replace(path)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return path
