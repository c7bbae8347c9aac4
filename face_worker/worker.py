"""The loop of a face worker: read triggers, answer them gallery by gallery, commit; look round now and then.

Several processes of one consumer group may run, each of one thread: see `answers` for how they get along.
Nothing biometric leaves `faces`: events and logs carry ids and counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from confluent_kafka import Message

from face_worker.answers import Answering, Trigger
from face_worker.draft import PRODUCER
from face_worker.rounds import SIMULATED, Rounds
from schemas.errors import InvalidEvent, Unavailable
from schemas.events import GroupMerged, GroupSplit, PhotoDeleted, PhotoUploaded, SelfieTaken
from schemas.wire import decode, upcast
from sinks.consumer import BatchConsumer

log: Final = structlog.get_logger(__name__)
PORTION: Final = 16


@dataclass
class Portion:
    """Messages in the order they came, with the triggers among them."""

    messages: list[Message] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)


def portions(messages: Sequence[Message], size: int) -> Iterator[Portion]:
    """Cut `messages` behind every `size`-th trigger."""
    portion = Portion()
    for message in messages:
        portion.messages.append(message)
        if trigger := _trigger(message):
            portion.triggers.append(trigger)
        if len(portion.triggers) == size:
            yield portion
            portion = Portion()
    if portion.messages:
        yield portion


@dataclass
class FaceWorker:
    """The loop. One thread, one process. `portion` triggers are answered, and committed, together."""

    consumer: BatchConsumer
    answering: Answering
    rounds: Rounds
    portion: int = PORTION

    @property
    def counts(self) -> Mapping[str, int]:
        return {**self.answering.counts, **self.rounds.counts}

    @property
    def ready(self) -> bool:
        """Whether it has partitions, and neither broker nor ClickHouse is away."""
        return self.consumer.assigned and not self._waits_for

    @property
    def state(self) -> Mapping[str, Any]:
        """For the health endpoint: counts, and what it waits for."""
        return {**self.counts, "waiting": self._waits_for}

    @property
    def _waits_for(self) -> Mapping[str, str]:
        away = {"broker": "does not answer"} if self.consumer.away else {}
        return {**away, **self.answering.waiting.reasons}

    def run(self) -> None:
        """Work until told to stop, finish the picture in hand, leave the group.

        The portion in hand is not committed then: it comes again, and what was found is stored.
        """
        stopping = self.answering.waiting.stopping
        try:
            while not stopping.is_set():
                batch = self.consumer.batch()
                for portion in portions(batch, self.portion):
                    self.take(portion)
                    self.rounds.make_if_due(idle=False)
                if not batch and self.consumer.assigned:
                    self.rounds.make_if_due(idle=True)
        except Unavailable as stopped:
            if not stopping.is_set():
                raise
            log.info("left without committing", reason=str(stopped))
        finally:
            self.consumer.close()

    def take(self, portion: Portion) -> None:
        """One portion, from the pictures to the commit."""
        galleries: defaultdict[str, dict[object, Trigger]] = defaultdict(dict)
        for trigger in portion.triggers:
            galleries[trigger.gallery_id].setdefault(trigger.event_id, trigger)
        for gallery_id, triggers in galleries.items():
            self.answering.answer(gallery_id, list(triggers.values()))
        self.consumer.commit(portion.messages)


def _trigger(message: Message) -> Trigger | None:
    """The trigger that a message is; None for everything else, also for what is no event."""
    try:
        event = upcast(decode(message.value() or b""))
    except InvalidEvent:  # ingest sends it to the dead letters
        return None
    if isinstance(event, PhotoUploaded | SelfieTaken):
        return None if event.uri.startswith(SIMULATED) else event
    if isinstance(event, PhotoDeleted | GroupMerged | GroupSplit) and event.producer != PRODUCER:
        return event
    return None
