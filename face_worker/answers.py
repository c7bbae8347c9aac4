"""Triggers of one gallery → a step of its journal, claimed, then published.

Several workers may do this for one gallery at once. Each reads the gallery at step n, makes step n + 1 and
claims its number; only one gets it, and publishes. The others read on and try again: what they saw in the
pictures is kept. So steps of a gallery follow one another without a lock that somebody could die with.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from uuid import UUID, uuid4

import structlog

from face_worker.centres import NOTHING, Centres, State, follow
from face_worker.clusters import Recipe
from face_worker.draft import Clustering, Failed, Work
from face_worker.journal import Gallery, PhotoFaces, Selfie, Step, advance
from face_worker.looking import Looking
from face_worker.matcher import Thresholds
from face_worker.steps import cluster, next_step, photos_after
from face_worker.storage import FaceStore
from face_worker.waiting import Result, Waiting
from producers import Publisher
from schemas.errors import Backpressure, PublishError, Unavailable
from schemas.events import GroupMerged, GroupSplit, PhotoDeleted, PhotoUploaded, SelfieTaken
from schemas.topics import key_of, topic_of
from schemas.wire import decode

log: Final = structlog.get_logger(__name__)
_PUBLISH_SECONDS: Final = 30.0
_REMEMBERED_FACES: Final = 300_000  # of all galleries that are kept in memory; 150 to 600 MB

Trigger = PhotoUploaded | SelfieTaken | PhotoDeleted | GroupMerged | GroupSplit


@dataclass(frozen=True)
class Cadence:
    """When all faces of a gallery are grouped anew; in between, new faces join the nearest group."""

    small: int = 2000  # up to so many faces it is done at every step: it costs next to nothing
    growth: float = 0.2  # new faces, as a share of those that are grouped
    rest: float = 10.0  # times as long as it took, a gallery is left alone before it is grouped again
    lease: float = 600.0  # seconds for which other workers leave a large gallery to the one that groups it


@dataclass
class _Remembered:
    gallery: Gallery
    centres: Centres | None = None
    """None: nobody has asked for them yet."""


@dataclass
class Answering:
    """Answers triggers. One thread; galleries that were worked on lately are kept in memory."""

    store: FaceStore
    publisher: Publisher
    looking: Looking
    waiting: Waiting
    recipe: Recipe
    thresholds: Thresholds
    cadence: Cadence = Cadence()
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("photos", "faces", "selfies", "failed", "repeated", "corrections", "clusterings", "lost"), 0
        )
    )

    def __post_init__(self) -> None:
        self._worker = uuid4()
        self._galleries: OrderedDict[str, _Remembered] = OrderedDict()
        self._rested: dict[str, float] = {}

    def answer(self, gallery_id: str, triggers: Sequence[Trigger]) -> None:
        """Publish what comes of triggers of one gallery; of those that came before, the same again."""
        seen: dict[UUID, PhotoFaces | Failed | Selfie] = {}
        gallery = self._catch_up(gallery_id)
        if not gallery.last_step and not any(
            isinstance(one, PhotoUploaded | SelfieTaken) for one in triggers
        ):
            return  # a gallery without faces: of simulated ones there are corrections and deletions, too
        own: Step | None = None
        while own is None and (new := [one for one in triggers if gallery.is_new(one.event_id)]):
            own = self._try_step(gallery, new, seen)
            gallery = self._catch_up(gallery_id) if own is None else self._galleries[gallery_id].gallery
        self._repeat(gallery, [one for one in triggers if own is None or one.event_id not in own.causes])
        self._forget_deleted(gallery, triggers)
        grouped = gallery.faces - gallery.since_clustered
        if gallery.faces > self.cadence.small and gallery.since_clustered > self.cadence.growth * grouped:
            self.cluster(gallery_id)

    def cluster(self, gallery_id: str) -> None:
        """Group all faces of a gallery anew, unless another worker does, or did so just now.

        Steps of others may come meanwhile; the grouping then goes into the step behind theirs.
        """
        gallery = self._catch_up(gallery_id)
        if not gallery.since_clustered or monotonic() < self._rested.get(gallery_id, 0):
            return
        large = gallery.faces > self.cadence.small
        if large and not self.leads(gallery_id, self.cadence.lease):
            return
        before, started = gallery.clustered_step, monotonic()
        clustering = cluster(gallery.photos, self.recipe)
        took = monotonic() - started
        self._rested[gallery_id] = monotonic() + self.cadence.rest * took
        while gallery.clustered_step == before:
            step = self._make(gallery, Work(again=self._looking_selfies(gallery)), clustering)
            if self._claim(gallery, step, ()):
                self.counts["clusterings"] += 1
                log.info(
                    "grouped anew",
                    gallery=gallery_id,
                    faces=gallery.faces,
                    seconds=round(took, 1),
                    step=step.step,
                )
                break
            gallery = self._catch_up(gallery_id)
        if large:
            self._do(lambda: self.store.release(gallery_id), "ending a lease")

    def leads(self, what: str, seconds: float) -> bool:
        """Whether this worker, and most likely no other, is to do something; for so long."""
        return self._do(lambda: self.store.lease(what, self._worker, seconds), "taking a lease")

    def publish_again(self, gallery_id: str, steps: Collection[int]) -> None:
        """Publish the events of steps that are stored."""
        self._publish(self._do(lambda: self.store.events(gallery_id, steps), "reading events of steps"))

    def _publish(self, events: Iterable[bytes]) -> None:
        """Hand over the bytes and wait until the broker has them; again from the start if it does not."""
        events = list(events)

        def publish() -> None:
            try:
                for raw in events:
                    event = decode(raw)
                    self.publisher.publish_bytes(raw, topic=topic_of(event.type).name, key=key_of(event))
                self.publisher.flush(_PUBLISH_SECONDS)
            except (PublishError, Backpressure) as error:
                raise Unavailable(f"the broker did not take all events: {error}") from error

        self._do(publish, f"publishing {len(events)} events")

    def _try_step(
        self, gallery: Gallery, new: Sequence[Trigger], seen: dict[UUID, PhotoFaces | Failed | Selfie]
    ) -> Step | None:
        """Make the next step and claim it; None if another worker was faster."""
        work = self._look(gallery, new, seen)
        photos = photos_after(gallery, work) if work.photos else {}
        whole = photos and sum(len(row.faces) for row in photos.values()) <= self.cadence.small
        if whole:
            work = replace(work, again=self._looking_selfies(gallery))
        started = monotonic()
        step = self._make(gallery, work, cluster(photos, self.recipe) if whole else None)
        took = round((monotonic() - started) * 1000)
        for selfie in work.selfies:
            if step.selfies.get(selfie.cause):
                self._keep_selfie(gallery, selfie, step.stored_at)
        if not self._claim(gallery, step, work.photos):
            return None
        faces = sum(len(photo.faces) for photo in work.photos)
        told = {
            "photos": len(work.photos),
            "faces": faces,
            "failed": len(work.failed),
            "selfies": len(work.selfies),
            "corrections": len(work.corrections),
        }
        for name, number in told.items():
            self.counts[name] += number
        log.info(
            "step",
            gallery=gallery.gallery_id,
            step=step.step,
            **told,
            events=len(step.events),
            grouping_ms=took,
        )
        return step

    def _look(
        self, gallery: Gallery, new: Sequence[Trigger], seen: dict[UUID, PhotoFaces | Failed | Selfie]
    ) -> Work:
        """Look at the pictures that nobody has looked at yet, and sort what is to be answered."""
        gone = gallery.deleted | {one.photo_id for one in new if isinstance(one, PhotoDeleted)}
        uploads = [one for one in new if isinstance(one, PhotoUploaded)]
        wanted = {one.photo_id for one in uploads if one.event_id not in seen}
        stored = self._do(lambda: self.store.faces_of(gallery.gallery_id, wanted), "reading faces of photos")
        stored.sort(key=lambda row: row.stored_at)
        for row in stored:
            fresh = row.cause not in gallery.answered or row.stored_at > gallery.reopened.get(
                row.cause, row.stored_at
            )
            if row.model == gallery.model and fresh:
                seen[row.cause] = row  # found just before a crash
        for upload in uploads:
            if upload.event_id not in seen and upload.photo_id not in gone:
                seen[upload.event_id] = found = self.looking.photo(upload)
                if isinstance(found, PhotoFaces):
                    self._keep_faces(found)
        for trigger in new:
            if isinstance(trigger, SelfieTaken) and trigger.event_id not in seen:
                seen[trigger.event_id] = self.looking.selfie(trigger)
        looked = [seen[one.event_id] for one in new if one.event_id in seen]
        kept = [seen[one.event_id] for one in uploads if one.photo_id not in gone]
        return Work(
            photos=[one for one in kept if isinstance(one, PhotoFaces)],
            failed=[one for one in kept if isinstance(one, Failed)],
            selfies=[one for one in looked if isinstance(one, Selfie)],
            corrections=[one for one in new if isinstance(one, GroupMerged | GroupSplit)],
            deleted=[one for one in new if isinstance(one, PhotoDeleted)],
            passed_over=[one for one in uploads if one.photo_id in gone],
            previous={row.photo_id: row for row in stored if row.model != gallery.model},
        )

    def _make(self, gallery: Gallery, work: Work, clustering: Clustering | None) -> Step:
        return next_step(
            gallery,
            work,
            writer=uuid4(),
            now=self.clock(),
            recipe=self.recipe,
            thresholds=self.thresholds,
            centres=self._centres(gallery) if clustering is None else {},
            clustering=clustering,
        )

    def _claim(self, gallery: Gallery, step: Step, rows: Iterable[PhotoFaces]) -> bool:
        """Store a step and publish it; False if there is another one of its number."""
        writer = self._do(lambda: self.store.claim(step), "storing a step")
        if writer != step.writer:
            self.counts["lost"] += 1
            log.info("another worker was faster", gallery=gallery.gallery_id, step=step.step)
            return False
        self._remember(advance(gallery, [step], rows))
        self._publish(step.events)
        found = [cause for cause, still in step.selfies.items() if not still]
        self._do(lambda: self.store.delete_pictures(gallery.gallery_id, found), "deleting selfies")
        return True

    def _keep_faces(self, found: PhotoFaces) -> None:
        self._do(lambda: self.store.keep_faces(found), "storing a photo's faces")

    def _keep_selfie(self, gallery: Gallery, selfie: Selfie, at: datetime) -> None:
        self._do(
            lambda: self.store.keep_selfie(gallery.gallery_id, gallery.model, selfie, at), "storing a selfie"
        )

    def _repeat(self, gallery: Gallery, triggers: Sequence[Trigger]) -> None:
        """Publish the steps once more that answer triggers: who made them may have died before it could."""
        if not triggers:
            return
        steps = {gallery.answered[one.event_id] for one in triggers}
        log.info("answered before, published again", gallery=gallery.gallery_id, steps=sorted(steps))
        self.publish_again(gallery.gallery_id, steps)
        self.counts["repeated"] += len(triggers)

    def _forget_deleted(self, gallery: Gallery, triggers: Sequence[Trigger]) -> None:
        """Delete embeddings of deleted photos, also what a worker that came late has stored."""
        gone = {
            one.photo_id
            for one in triggers
            if isinstance(one, PhotoDeleted | PhotoUploaded) and one.photo_id in gallery.deleted
        }
        if gone:
            self._do(lambda: self.store.delete_photos(gallery.gallery_id, gone), "deleting faces")

    def _looking_selfies(self, gallery: Gallery) -> list[Selfie]:
        return self._do(
            lambda: self.store.selfies(gallery.gallery_id, gallery.model, gallery.looking), "reading selfies"
        )

    def _catch_up(self, gallery_id: str) -> Gallery:
        """The gallery as it is now: what is remembered, and the steps that came since."""
        remembered = self._galleries.get(gallery_id)
        known = remembered.gallery if remembered else Gallery(gallery_id, self.looking.embedder.model)
        return self._remember(self._do(lambda: self.store.catch_up(known), "reading a gallery's faces"))

    def _remember(self, gallery: Gallery) -> Gallery:
        old = self._galleries.pop(gallery.gallery_id, None)
        centres = old.centres if old else None
        if old is not None and centres is not None and old.gallery is not gallery:
            centres = follow(
                centres, State(old.gallery.photos, old.gallery.groups), State(gallery.photos, gallery.groups)
            )
        self._galleries[gallery.gallery_id] = _Remembered(gallery, centres)
        while (
            len(self._galleries) > 1
            and sum(one.gallery.faces for one in self._galleries.values()) > _REMEMBERED_FACES
        ):
            self._galleries.popitem(last=False)
        return gallery

    def _centres(self, gallery: Gallery) -> Centres:
        remembered = self._galleries[gallery.gallery_id]
        if remembered.centres is None:
            remembered.centres = follow({}, NOTHING, State(gallery.photos, gallery.groups))
        return remembered.centres

    def _do(self, action: Callable[[], Result], what: str) -> Result:
        return self.waiting.until_done(action, what=what)
