"""A picture's URI → the faces in it, with patience for places that do not answer, and none for bad pictures.

A picture's URI may be a key to it, so it is not logged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from face_worker import pictures
from face_worker.draft import Failed
from face_worker.embedder import Embedder
from face_worker.faces import Face
from face_worker.journal import PhotoFaces, Selfie
from face_worker.pictures import Limits, PictureUnavailable, UnreadablePicture
from face_worker.waiting import Waiting
from schemas.errors import Unavailable
from schemas.events import PhotoUploaded, SelfieTaken
from schemas.fields import to_milliseconds

log: Final = structlog.get_logger(__name__)


@dataclass
class Looking:
    """Looks at pictures. `patience`: seconds until one that cannot be fetched is given up."""

    embedder: Embedder
    limits: Limits
    waiting: Waiting
    patience: float = 30.0
    longest_pause: float = 5.0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def photo(self, photo: PhotoUploaded) -> PhotoFaces | Failed:
        """The faces of a photo, or why there are none. Raises Unavailable when the worker is to stop."""
        started = monotonic()
        faces = self._faces(photo.uri, photo=photo.photo_id)
        if isinstance(faces, str):
            return Failed(photo, faces)
        return PhotoFaces(
            gallery_id=photo.gallery_id,
            model=self.embedder.model,
            photo_id=photo.photo_id,
            cause=photo.event_id,
            stored_at=to_milliseconds(self.clock()),
            duration_ms=round((monotonic() - started) * 1000),
            faces=faces,
        )

    def selfie(self, taken: SelfieTaken) -> Selfie:
        """The faces of a selfie. Raises Unavailable when the worker is to stop."""
        faces = self._faces(taken.uri, selfie=taken.selfie_id)
        return Selfie(
            cause=taken.event_id,
            selfie_id=taken.selfie_id,
            visitor_id=taken.visitor_id,
            session_id=taken.session_id,
            faces=None if isinstance(faces, str) else faces,
        )

    def _faces(self, uri: str, **what: str) -> tuple[Face, ...] | str:
        """The faces in a picture, or the reason why there is none to look at."""
        if self.waiting.stopping.is_set():
            raise Unavailable("stopped before all pictures of the portion were looked at")
        self.waiting.pause(0.01)  # pictures take their time, and the broker wants to hear of us

        def report(state: RetryCallState) -> None:
            log.warning("picture unavailable, trying again", attempt=state.attempt_number, **what)

        retrying = Retrying(
            retry=retry_if_exception_type(PictureUnavailable),
            wait=wait_random_exponential(multiplier=0.5, max=self.longest_pause),
            stop=stop_after_delay(self.patience),
            sleep=self._pause,
            before_sleep=report,
            reraise=True,
        )
        try:
            picture = retrying(pictures.load, uri, self.limits)
        except UnreadablePicture as unreadable:
            log.warning("picture unreadable", reason=unreadable.reason, **what)
            return unreadable.reason
        except PictureUnavailable:
            log.warning("picture unavailable, given up", **what)
            return "unavailable"
        try:
            return tuple(self.embedder.faces(picture))
        except MemoryError:
            raise
        except Exception:  # one picture that the libraries choke on must not stop all galleries for good
            log.exception("finding faces failed", **what)
            return "detector_failed"

    def _pause(self, seconds: float) -> None:
        self.waiting.pause(seconds)
        if self.waiting.stopping.is_set():
            raise Unavailable("stopped while a picture was unavailable")
