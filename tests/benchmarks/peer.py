"""The plain client that the pipeline is measured against: consume, parse, insert.

    python peer.py TOPIC TABLE rows|bytes

No validation, no dead letters, no deduplication, nothing told to anybody. `rows` is json.loads and an
insert of rows; `bytes` hands the bytes to ClickHouse unseen. Batches and waits are those of ingest.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaException, Message

from deploy.settings import load_settings
from deploy.workers import target
from sinks.clickhouse import LINE_SETTINGS, WRITE_SETTINGS, connect

TIMES: Final = ("occurred_at", "taken_at", "starts_at", "ends_at")

Insert = Callable[[Sequence[Message]], None]


def row_insert(client: Client, table: str) -> Insert:
    """Insert parsed events as rows of every column."""
    columns = client.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "AND default_kind = '' ORDER BY position",
        parameters={"table": table},
    ).result_rows
    defaults = {name: _default(kind) for name, kind in columns}
    names = list(defaults)

    def insert(messages: Sequence[Message]) -> None:
        rows = []
        for message in messages:
            event: dict[str, Any] = json.loads(message.value() or b"")
            for name in TIMES:
                if name in event:
                    event[name] = datetime.fromisoformat(event[name])
            if "fee" in event:
                event["fee"] = Decimal(event["fee"])
            event["received_at"] = datetime.fromtimestamp(message.timestamp()[1] / 1000, tz=UTC)
            event["topic"], event["partition"], event["offset"] = (
                message.topic(),
                message.partition(),
                message.offset(),
            )
            rows.append([event.get(name, default) for name, default in defaults.items()])
        client.insert(table, rows, column_names=names, settings=dict(WRITE_SETTINGS))

    return insert


def byte_insert(client: Client, table: str) -> Insert:
    """Insert the bytes as they are."""

    def insert(messages: Sequence[Message]) -> None:
        block = b"\n".join(message.value() or b"" for message in messages)
        client.raw_insert(table, insert_block=block, fmt="JSONEachRow", settings=dict(LINE_SETTINGS))

    return insert


def _default(kind: str) -> Any:
    if kind.startswith("Nullable"):
        return None
    if kind.startswith("Array"):
        return []
    if "String" in kind:
        return ""
    return Decimal(0) if kind.startswith("Decimal") else 0


def main(topic: str, table: str, form: str) -> None:
    """Run until SIGTERM."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    settings = load_settings()
    client = connect(target(settings))
    insert = {"rows": row_insert, "bytes": byte_insert}[form](client, table)
    consumer = Consumer({**settings.consumer(f"peer-{table}"), "enable.auto.offset.store": True})
    consumer.subscribe([topic], on_assign=lambda *_: print("assigned", flush=True))
    while not stopping:
        messages = consumer.consume(settings.ingest_batch, timeout=settings.ingest_wait)
        for message in messages:
            if error := message.error():
                raise KafkaException(error)
        if messages:
            insert(messages)
            consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
