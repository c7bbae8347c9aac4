"""Photos and selfies → people: fetch, look, store, group, publish, commit. In this order, always.

One process per installation for now: a gallery's photos come over several partitions, and its steps follow
one another. A second process in the group would number the same steps; let a new version start when the old
one has ended (in Kubernetes: strategy Recreate).

Nothing biometric leaves `faces`: events and logs carry ids and counts. A picture's URI may be a key to it, so
it is not logged either.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Final, TypeVar

import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Message
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from face_worker import pictures
from face_worker.clusters import Recipe
from face_worker.embedder import Embedder
from face_worker.faces import Face
from face_worker.matcher import Thresholds
from face_worker.pictures import Limits, PictureUnavailable, UnreadablePicture
from face_worker.steps import Failed, Gallery, PhotoFaces, Selfie, Step, next_step
from face_worker.storage import FaceStore
from producers import Publisher
from schemas.errors import Backpressure, InvalidEvent, PublishError, Unavailable
from schemas.events import Event, PhotoUploaded, SelfieTaken
from schemas.fields import to_milliseconds
from schemas.topics import key_of, topic_of
from schemas.wire import decode, upcast
from sinks.clickhouse import until_done
from sinks.consumer import BatchConsumer

log: Final = structlog.get_logger(__name__)
GROUP: Final = "gallery-faces"
SIMULATED: Final = "sim://"
_PUBLISH_SECONDS: Final = 30.0

Trigger = PhotoUploaded | SelfieTaken
Result = TypeVar("Result")


@dataclass(frozen=True)
class Pace:
    """How much is done at once, and how long is waited for pictures."""

    portion: int = 16  # triggers that are answered, and committed, together
    patience: float = 30.0  # seconds until a picture that cannot be fetched is given up
    longest_pause: float = 5.0  # seconds between two attempts to fetch it


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


class FaceWorker:
    """The loop. One thread, one process."""

    def __init__(
        self,
        consumer: BatchConsumer,
        publisher: Publisher,
        store: FaceStore,
        embedder: Embedder,
        *,
        stopping: threading.Event,
        limits: Limits,
        recipe: Recipe,
        thresholds: Thresholds,
        pace: Pace = Pace(),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._store = store
        self._embedder = embedder
        self._stopping = stopping
        self._limits = limits
        self._recipe = recipe
        self._thresholds = thresholds
        self._pace = pace
        self._clock = clock
        self.counts: dict[str, int] = {"photos": 0, "faces": 0, "selfies": 0, "failed": 0, "repeated": 0}

    def run(self) -> None:
        """Work until `stopping` is set, finish the picture in hand, leave the group.

        The portion in hand is not committed then: it comes again, and what was found is stored.
        """
        try:
            while not self._stopping.is_set():
                for portion in portions(self._consumer.batch(), self._pace.portion):
                    self.take(portion)
        except Unavailable as stopped:
            if not self._stopping.is_set():
                raise
            log.info("left without committing", reason=str(stopped))
        finally:
            self._consumer.close()

    def take(self, portion: Portion) -> None:
        """One portion, from the pictures to the commit."""
        galleries: defaultdict[str, dict[object, Trigger]] = defaultdict(dict)
        for trigger in portion.triggers:
            galleries[trigger.gallery_id].setdefault(trigger.event_id, trigger)
        for gallery_id, triggers in galleries.items():
            self._answer(gallery_id, list(triggers.values()))
        self._consumer.commit(portion.messages)

    def _answer(self, gallery_id: str, triggers: Sequence[Trigger]) -> None:
        """Publish what comes of triggers of one gallery; of those that came before, the same again."""
        gallery = self._until_done(
            lambda: self._store.gallery(gallery_id, self._embedder.model), what="reading a gallery's faces"
        )
        new = [trigger for trigger in triggers if trigger.event_id not in gallery.steps]
        if repeated := {gallery.steps[one.event_id] for one in triggers if one.event_id in gallery.steps}:
            log.info("answered before, published again", gallery=gallery_id, steps=sorted(repeated))
            events = self._until_done(
                lambda: self._store.events(gallery_id, repeated), what="reading a gallery's events"
            )
            self._publish(events)
            self.counts["repeated"] += len(triggers) - len(new)
        if new:
            step = self._next_step(gallery, new)
            self._until_done(lambda: self._store.keep_step(step), what="storing a step")
            self._publish(step.events)

    def _next_step(self, gallery: Gallery, triggers: Sequence[Trigger]) -> Step:
        photos: list[PhotoFaces] = []
        failed: list[Failed] = []
        for trigger in triggers:
            if isinstance(trigger, PhotoUploaded):
                seen = gallery.looked_at.get(trigger.event_id) or self._look(trigger)
                if isinstance(seen, Failed):
                    failed.append(seen)
                else:
                    photos.append(seen)
        selfies = [self._look_at_selfie(one) for one in triggers if isinstance(one, SelfieTaken)]
        started = monotonic()
        step = next_step(
            gallery,
            photos,
            failed,
            selfies,
            now=self._clock(),
            recipe=self._recipe,
            thresholds=self._thresholds,
        )
        self.counts["photos"] += len(photos)
        self.counts["faces"] += (faces := sum(len(photo.faces) for photo in photos))
        self.counts["failed"] += len(failed)
        self.counts["selfies"] += len(selfies)
        log.info(
            "step",
            gallery=gallery.gallery_id,
            step=step.step,
            photos=len(photos),
            faces=faces,
            failed=len(failed),
            selfies=len(selfies),
            events=len(step.events),
            grouping_ms=round((monotonic() - started) * 1000),
        )
        return step

    def _look(self, photo: PhotoUploaded) -> PhotoFaces | Failed:
        """Find the faces of a photo and store them."""
        started = monotonic()
        faces = self._faces(photo.uri, photo=photo.photo_id)
        if isinstance(faces, str):
            return Failed(photo, faces)
        seen = PhotoFaces(
            gallery_id=photo.gallery_id,
            model=self._embedder.model,
            photo_id=photo.photo_id,
            cause=photo.event_id,
            stored_at=to_milliseconds(self._clock()),
            duration_ms=round((monotonic() - started) * 1000),
            faces=faces,
        )
        self._until_done(lambda: self._store.keep_faces(seen), what="storing a photo's faces")
        return seen

    def _look_at_selfie(self, selfie: SelfieTaken) -> Selfie:
        faces = self._faces(selfie.uri, selfie=selfie.selfie_id)
        return Selfie(selfie, None if isinstance(faces, str) else faces)

    def _faces(self, uri: str, **what: str) -> tuple[Face, ...] | str:
        """The faces in a picture, or the reason why there is none to look at."""
        if self._stopping.is_set():
            raise Unavailable("stopped before all pictures of the portion were looked at")
        self._consumer.keep_alive(0.01)  # pictures take their time, and the broker wants to hear of us

        def report(state: RetryCallState) -> None:
            log.warning("picture unavailable, trying again", attempt=state.attempt_number, **what)

        retrying = Retrying(
            retry=retry_if_exception_type(PictureUnavailable),
            wait=wait_random_exponential(multiplier=0.5, max=self._pace.longest_pause),
            stop=stop_after_delay(self._pace.patience),
            sleep=self._pause,
            before_sleep=report,
            reraise=True,
        )
        try:
            picture = retrying(pictures.load, uri, self._limits)
        except UnreadablePicture as unreadable:
            log.warning("picture unreadable", reason=unreadable.reason, **what)
            return unreadable.reason
        except PictureUnavailable:
            log.warning("picture unavailable, given up", **what)
            return "unavailable"
        try:
            return tuple(self._embedder.faces(picture))
        except MemoryError:
            raise
        except Exception:  # one picture that the libraries choke on must not stop all galleries for good
            log.exception("finding faces failed", **what)
            return "detector_failed"

    def _publish(self, events: Sequence[bytes]) -> None:
        """Hand over the bytes and wait until the broker has them; again from the start if it does not."""

        def publish() -> None:
            try:
                for raw in events:
                    event = decode(raw)
                    self._publisher.publish_bytes(raw, topic=topic_of(event.type).name, key=key_of(event))
                self._publisher.flush(_PUBLISH_SECONDS)
            except (PublishError, Backpressure) as error:
                raise Unavailable(f"the broker did not take all events: {error}") from error

        self._until_done(publish, what=f"publishing {len(events)} events")

    def _until_done(self, action: Callable[[], Result], *, what: str) -> Result:
        """What is in hand is finished also after a stop, but not waited for any more."""
        if self._stopping.is_set():
            try:
                return action()
            except (ClickHouseError, OSError) as error:
                raise Unavailable(f"stopped, and this cannot be done now: {what}") from error
        return until_done(
            action, what=what, stopping=self._stopping, pause=self._consumer.keep_alive, longest_pause=5.0
        )

    def _pause(self, seconds: float) -> None:
        self._consumer.keep_alive(seconds)
        if self._stopping.is_set():
            raise Unavailable("stopped while a picture was unavailable")


def _trigger(message: Message) -> Trigger | None:
    """The photo or selfie that a message tells of; None for everything else, also for what is no event."""
    try:
        event: Event = upcast(decode(message.value() or b""))
    except InvalidEvent:  # ingest sends it to the dead letters
        return None
    if not isinstance(event, PhotoUploaded | SelfieTaken) or event.uri.startswith(SIMULATED):
        return None
    return event
