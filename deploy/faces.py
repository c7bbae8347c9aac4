"""The face worker's process: what `gallery faces run` runs until it is told to stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # no stubs

from deploy.settings import Settings
from deploy.topics import check_topics, require
from deploy.workers import serve_health, stop_on_signals, target
from face_worker.answers import Answering
from face_worker.embedder import DeepFaceEmbedder, Embedder
from face_worker.looking import Looking
from face_worker.models import FaceModel, numbers_of
from face_worker.pictures import Limits
from face_worker.rounds import Rounds
from face_worker.storage import FaceStore
from face_worker.waiting import Waiting
from face_worker.worker import FaceWorker
from producers import Publisher
from schemas.topics import EVENTS, FACES_GROUP, TOPICS
from sinks.clickhouse import connect, until_done
from sinks.consumer import BatchConsumer

log: Final = structlog.get_logger(__name__)
_BATCH: Final = 1000  # most messages of a batch are no pictures and only passed over
_WAIT_SECONDS: Final = 1.0


def limits(settings: Settings) -> Limits:
    """What pictures may be read, and how they are scaled."""
    return Limits(
        max_bytes=settings.faces_max_bytes,
        max_side=settings.faces_max_side,
        file_root=settings.faces_pictures,
        schemes=frozenset(settings.faces_schemes.split(",")),
        hosts=frozenset(one.strip().lower() for one in settings.faces_hosts.split(",") if one.strip()),
        private_hosts=settings.faces_private_hosts,
    )


def run_faces(settings: Settings, embedder: Embedder | None = None, numbers: FaceModel | None = None) -> None:
    """Photos and selfies → people, until SIGTERM, in one thread; for more cores start more of them.

    Without an embedder it is DeepFace's: TensorFlow is loaded first, which takes 10 to 20 s. An embedder
    whose model is none of `MODELS` needs its own `numbers`. Raises SetupError, TopicError, Unavailable.
    """
    stopping = stop_on_signals()
    if embedder is None:
        embedder = deepface = DeepFaceEmbedder(
            settings.folder.absolute() / "deepface",
            weights=settings.faces_weights,
            model=settings.faces_model,
            detector=settings.faces_detector,
        )
        deepface.load()
    model = numbers or numbers_of(embedder.model)
    require(check_topics(settings.admin(), settings.profile, TOPICS))
    client: Client = until_done(
        lambda: connect(target(settings)), what="connecting to ClickHouse", stopping=stopping
    )
    consumer = BatchConsumer(
        settings.consumer(FACES_GROUP),
        [EVENTS.name],
        max_messages=_BATCH,
        max_wait=_WAIT_SECONDS,
        every_offset=settings.profile.leaves_out,
    )
    waiting = Waiting(stopping, consumer.keep_alive)
    own = model.thresholds
    thresholds = replace(
        own,
        match=own.match if settings.faces_match is None else settings.faces_match,
        offer=own.offer if settings.faces_offer is None else settings.faces_offer,
        margin=own.margin if settings.faces_margin is None else settings.faces_margin,
    )
    with threadpool_limits(1), Publisher(settings.producer()) as publisher:
        answering = Answering(
            FaceStore(client),
            publisher,
            Looking(embedder, limits(settings), waiting),
            waiting,
            model.recipe,
            thresholds,
        )
        rounds = Rounds(client, answering, settings.faces_look_every, quiet=settings.faces_quiet)
        worker = FaceWorker(consumer, answering, rounds)
        serve_health(settings, ready=lambda: worker.ready, state=lambda: worker.state)
        log.info("faces is running", model=embedder.model)
        worker.run()
    log.info("faces ended", **worker.counts)
