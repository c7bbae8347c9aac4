"""The one way to ClickHouse: connect, write lines, try again while it is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import clickhouse_connect
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_never, wait_random_exponential

from schemas.errors import Unavailable

Result = TypeVar("Result")
log: Final = structlog.get_logger(__name__)

WRITE_SETTINGS: Final[Mapping[str, Any]] = {
    "async_insert": 0,  # an acknowledged insert is on disk, not in a buffer
    "max_partitions_per_insert_block": 0,  # a batch may span any number of months
}
LINE_SETTINGS: Final[Mapping[str, Any]] = {
    **WRITE_SETTINGS,
    "date_time_input_format": "best_effort",  # ISO 8601 with Z
    "input_format_skip_unknown_fields": 0,  # a field without a column is a mistake, not noise
    "input_format_null_as_default": 1,
    "optimize_on_insert": 0,  # two contents under one key stay visible until they are reported
}


@dataclass(frozen=True)
class Target:
    """A ClickHouse HTTP interface, a user and a database."""

    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "default"
    password: str = field(default="", repr=False)
    database: str = "gallery"
    secure: bool = False
    timeout: float = 300.0


def connect(target: Target, *, database: str | None = None) -> Client:
    """A client of its own connection pool; safe in one thread at a time. Raises Unavailable."""
    try:
        return clickhouse_connect.get_client(
            host=target.host,
            port=target.port,
            username=target.user,
            password=target.password,
            database=target.database if database is None else database,
            secure=target.secure,
            autogenerate_session_id=False,
            form_encode_query_params=True,
            send_receive_timeout=int(target.timeout),
            connect_timeout=5,
        )
    except ClickHouseError as error:
        raise Unavailable(
            f"ClickHouse at {target.host}:{target.port} does not answer user {target.user!r}: {_short(error)}"
        ) from error


def insert_lines(client: Client, table: str, lines: Sequence[bytes]) -> None:
    """Insert JSON objects whose keys are columns of `table`. All of them or, on an error, perhaps some:
    repeat it until it succeeds, the tables forgive it.
    """
    if lines:
        client.raw_insert(
            table, insert_block=b"\n".join(lines), fmt="JSONEachRow", settings=dict(LINE_SETTINGS)
        )


def execute(client: Client, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
    """Run one statement; bound parameters travel in the body, so they may be long."""
    return client.raw_query(sql, parameters=dict(parameters or {}), settings=dict(WRITE_SETTINGS))


def until_done(
    action: Callable[[], Result],
    *,
    what: str,
    stopping: threading.Event | None = None,
    pause: Callable[[float], None] | None = None,
    longest_pause: float = 15.0,
    errors: tuple[type[Exception], ...] = (ClickHouseError, Unavailable, OSError),
    finish: bool = False,
    waiting: dict[str, str] | None = None,
) -> Result:
    """Repeat `action` with backoff until ClickHouse takes it; `pause(seconds)` is called in between.

    A write that ClickHouse refuses stays here, loudly, until somebody mends the cause: nothing is
    skipped. Raises Unavailable when `stopping` is set before it succeeded; with `finish` it tries once
    even then. Between two attempts `waiting` has `what` → the last error, for a health endpoint.
    """

    def wait(seconds: float) -> None:
        if pause:
            pause(seconds)
        elif stopping:
            stopping.wait(seconds)
        else:
            threading.Event().wait(seconds)

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if waiting is not None:
            waiting[what] = _short(error)
        log.warning("trying again", what=what, attempt=state.attempt_number, error=_short(error))

    tried = not finish

    def attempt() -> Result:
        nonlocal tried
        if tried and stopping and stopping.is_set():
            raise Stopped
        tried = True
        return action()

    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, errors) and not isinstance(error, Stopped)),
        wait=wait_random_exponential(multiplier=0.2, max=longest_pause),
        stop=stop_never,
        sleep=wait,
        before_sleep=report,
    )
    try:
        return retrying(attempt)
    except Stopped:
        raise Unavailable(f"stopped before this was done: {what}") from None
    finally:
        if waiting is not None:
            waiting.pop(what, None)


class Stopped(Exception):  # noqa: N818 - never leaves this module
    """The worker is asked to stop while it waits."""


def _short(error: BaseException | None) -> str:
    return str(error).strip().splitlines()[0][:300] if error and str(error).strip() else repr(error)


for _raises_too in ("clickhouse_connect", "urllib3"):  # they log what they also raise
    logging.getLogger(_raises_too).setLevel(logging.CRITICAL)
