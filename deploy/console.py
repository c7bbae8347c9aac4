"""What the commands of `gallery` share: settings, tables, progress, errors on one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer

from schemas.errors import GalleryError

if TYPE_CHECKING:  # loading the settings takes longer than `gallery --help` may
    from deploy.settings import Settings

Item = TypeVar("Item")
_LIBRDKAFKA_LOG: Final = "producers.publisher.librdkafka"


class Debug:
    """Whether --debug was given: full logs, and a traceback for every error."""

    on = False


def settings(**overrides: Any) -> Settings:
    """The settings of a command: environment, flags over it, and what the running local stack adds.

    Sets up the logs as well. `overrides` that are None are not given. Raises SetupError.
    """
    from deploy.connection import connected  # noqa: PLC0415 - `gallery --help` does without
    from deploy.logs import configure_logs  # noqa: PLC0415
    from deploy.settings import load_settings  # noqa: PLC0415

    loaded = connected(
        load_settings(**{name: value for name, value in overrides.items() if value is not None})
    )
    configure_logs("DEBUG" if Debug.on else loaded.log_level, loaded.log_format)
    if not Debug.on:
        # Each failed attempt to connect is a line of its own; the command says it once, at its end.
        logging.getLogger(_LIBRDKAFKA_LOG).setLevel(logging.CRITICAL)
    return loaded


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns, without colours or borders: for eyes and for grep."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def say(text: str = "") -> None:
    """A line on stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """A line on stderr, beside the output proper."""
    typer.echo(text, err=True)


def fail(text: str) -> None:
    """A red line on stderr."""
    typer.secho(text, fg=typer.colors.RED, err=True)


@contextmanager
def counting(what: str) -> Iterator[Counter]:
    """A count that moves on the terminal, and is silent elsewhere."""
    counter = Counter(what)
    try:
        yield counter
    finally:
        counter.clear()


class Counter:
    """`with counting("published") as counter: for x in counter.over(xs)`."""

    _EVERY: Final = 1000

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self.count = 0

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items, counted as they pass."""
        for item in items:
            self.count += 1
            if self._shown and self.count % self._EVERY == 0:
                sys.stderr.write(f"\r{self.count:,} {self._what}")
                sys.stderr.flush()
            yield item

    def clear(self) -> None:
        """Remove the line."""
        if self._shown and self.count >= self._EVERY:
            sys.stderr.write("\r\x1b[2K")


def run(app: typer.Typer) -> None:
    """Run a command and end the process: 0, or 1 with one line for an error of the product's tree."""
    try:
        app(prog_name="gallery")
    except GalleryError as error:
        if Debug.on:
            raise
        fail(" ".join([f"Error: {error}", *(f"({remark})" for remark in getattr(error, "__notes__", ()))]))
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output went away (`gallery ... | head`)
        sys.stderr.close()
        sys.exit(141)
