"""Every error of the product, in one tree.

GalleryError
├── InvalidEvent            bytes that are no event; they go to the dead letters, the rest goes on
├── Backpressure            the receiver is full: wait `retry_after` seconds and send again
├── PublishError            an event that was handed over did not reach the topic
├── Unavailable             Kafka, ClickHouse or Grafana is away; workers try again what they were doing
├── TopicError              a topic is missing or differs from the catalogue
├── SchemaError             a published form of an event would change; that takes a new version
├── MigrationError          the database and the migration files do not fit together
├── GrafanaError            a Grafana refuses what it was asked, or cannot show the dashboards
├── TooManyDeadLetters      ingest stopped itself: this looks like a bad deploy, not like bad events
└── SetupError              this machine lacks something: a port, a folder, a file, an extra
"""

from __future__ import annotations


class GalleryError(Exception):
    """Root of the tree. The message says what to do."""


class InvalidEvent(GalleryError):  # noqa: N818 - it names what was found, as the dead letters do
    """Bytes that are no event of the catalogue.

    `reason` is one of REASONS, `field` the dotted path of the first offending field ("" when the
    whole is wrong), `producer` what the bytes say of their origin ("" when they do not say it).
    """

    REASONS = (
        "not_json",
        "too_large",
        "unknown_type",
        "unknown_version",
        "invalid_field",
        "future",
        "wrong_topic",
    )

    def __init__(self, reason: str, detail: str, *, field: str = "", producer: str = "") -> None:
        super().__init__(f"{reason}{f' ({field})' if field else ''}: {detail}")
        self.reason = reason
        self.detail = detail
        self.field = field
        self.producer = producer


class Backpressure(GalleryError):  # noqa: N818 - a state of the receiver, not a fault of the caller
    """The receiver is full. Nothing was taken; send the same again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PublishError(GalleryError):
    """An event did not reach its topic. `event_ids` are the ones that are not known to be there."""

    def __init__(self, message: str, *, event_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.event_ids = event_ids


class Unavailable(GalleryError):  # noqa: N818 - a state of the other side
    """A broker, a database or a Grafana does not answer."""


class TopicError(GalleryError):
    """A topic is missing, or has other settings than the catalogue says."""


class SchemaError(GalleryError):
    """A published form of an event would change. Add a version instead."""


class MigrationError(GalleryError):
    """A migration file changed after it was applied, is missing, or failed."""


class GrafanaError(GalleryError):
    """A Grafana refuses what it was asked: wrong token, missing permission, too old, no plugin."""


class TooManyDeadLetters(GalleryError):  # noqa: N818 - it says what happened
    """More dead letters in the latest messages than the limits allow; nothing of the batch was committed."""


class SetupError(GalleryError):
    """Something this machine lacks or already uses."""
