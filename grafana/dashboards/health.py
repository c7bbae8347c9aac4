"""The pipeline itself, for whoever runs it: does everything arrive, how fast, and what is stuck."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.layout import Row, dashboard
from grafana.panels import BAD, GOOD, MILLISECONDS, SECONDS, WARN, grid, number, over_time
from grafana.queries import GALLERY, PLAN, SINCE, Query, ask

UID: Final = "gallery-health"
INGESTED: Final = "inserted_at >= $__fromTime_ms AND inserted_at <= $__toTime_ms"
ACTIVE: Final = (
    "(SELECT groupUniqArray(toString(gallery_id)) FROM metrics WHERE bucket > $__fromTime_ms - INTERVAL 15 "
    "MINUTE AND bucket <= $__toTime_ms)"
)
"""Every gallery with a fact in the range: this dashboard and the alerts know no variables."""

LATE: Final = "dateDiff('millisecond', received_at, inserted_at)"
WAITING: Final = (
    f"FROM {ask('photos_in_range', galleries=ACTIVE)} "
    "WHERE NOT processed AND uploaded_at < now64(3) - INTERVAL 10 MINUTE"
)
BEHIND_PANEL: Final = 103
DEAD_PANEL: Final = 104
WAITING_PANEL: Final = 105
LATENCY_PANEL: Final = 203
UPLOADS_PANEL: Final = 504


def build() -> Dashboard:
    """The dashboard `gallery-health`."""
    return dashboard(
        UID,
        "Health",
        "Does everything arrive, how fast, and what is stuck: ingest, projections, faces.",
        [
            Row(100, "Now", _now()),
            Row(200, "Ingest", _ingest()),
            Row(300, "Kafka and projections", _progress()),
            Row(400, "Dead letters and conflicts", _letters()),
            Row(500, "Faces and uploads", _faces()),
        ],
        variables=[],
        since="now-6h",
        refresh="30s",
    )


def _now() -> list[Panel]:
    return [
        number(
            101,
            "Events per second",
            "Facts written in the range / its seconds. A fact that was sent twice and written twice counts "
            "twice.",
            Query(
                f"""SELECT count() / ((toUnixTimestamp64Milli($__toTime_ms) - {SINCE} + 1) / 1000) AS Rate
                FROM events WHERE {INGESTED}"""
            ),
            width=8,
            height=4,
            unit="none",
            decimals=1,
        ),
        number(
            102,
            "Kafka to table, 95 %",
            "Time from Kafka's timestamp to the row in ClickHouse, for 95 % of the facts written in the "
            "range. A replay of old messages shows here as their age.",
            Query(
                f"""SELECT if(count() = 0, NULL, quantile(0.95)({LATE})) AS Latency
                FROM events WHERE {INGESTED}"""
            ),
            width=8,
            height=4,
            unit=MILLISECONDS,
            decimals=0,
            steps=[(None, GOOD), (10_000, WARN), (60_000, BAD)],
            empty="Nothing written",
        ),
        number(
            BEHIND_PANEL,
            "Projections behind",
            "Quarters of an hour with facts, written in the range and more than a minute ago, that the "
            "projections have not seen all of: what dashboards do not show yet. 0 unless refresh stands "
            "still.",
            Query(
                f"""SELECT count() AS Behind FROM buckets_behind(since = {SINCE})
                WHERE waiting_since < now64(3) - INTERVAL 1 MINUTE"""
            ),
            width=8,
            height=4,
            steps=[(None, GOOD), (1, WARN), (20, BAD)],
        ),
        number(
            DEAD_PANEL,
            "Dead letters",
            "Messages of the range (by Kafka's timestamp) that are no event. Each is a mistake of a "
            "producer; the table below says which.",
            Query("SELECT count() AS Letters FROM dead_letters FINAL WHERE $__timeFilter_ms(received_at)"),
            width=8,
            height=4,
            steps=[(None, GOOD), (1, WARN), (100, BAD)],
        ),
        number(
            WAITING_PANEL,
            "Photos waiting for faces",
            "Photos uploaded in the range, more than ten minutes ago, without faces.detected or "
            "faces.failed.",
            Query(f"SELECT count() AS Waiting {WAITING}"),
            width=8,
            height=4,
            steps=[(None, GOOD), (1, WARN), (50, BAD)],
        ),
        number(
            106,
            "Conflicts",
            "Keys (gallery, type, time, id) that ever came with different contents: a mistake of a "
            "producer. The greater content hash counts.",
            Query("SELECT count() AS Conflicts FROM conflicts FINAL"),
            width=8,
            height=4,
            steps=[(None, GOOD), (1, WARN)],
        ),
    ]


def _ingest() -> list[Panel]:
    return [
        over_time(
            201,
            "Events per second",
            "Facts by the time they were written to ClickHouse, and by their time on Kafka. Written far "
            "above Kafka is catching up; far below is falling behind.",
            Query(
                f"""SELECT time, sum(arrived) / $__interval_s AS "On Kafka",
                    sum(written) / $__interval_s AS Written
                FROM
                (
                    SELECT $__timeInterval(inserted_at) AS time, 0 AS arrived, count() AS written
                    FROM events WHERE {INGESTED} GROUP BY time
                    UNION ALL
                    SELECT $__timeInterval(received_at) AS time, count(), 0
                    FROM events WHERE $__timeFilter_ms(received_at) GROUP BY time
                )
                GROUP BY time ORDER BY time""",
                series=True,
            ),
            draw="line",
            unit="none",
            width=12,
            height=8,
        ),
        over_time(
            202,
            "Events per second by type",
            "Facts written, by event type.",
            Query(
                f"""SELECT $__timeInterval(inserted_at) AS time, toString(type) AS type,
                    count() / $__interval_s AS rate
                FROM events WHERE {INGESTED} GROUP BY time, type ORDER BY time""",
                series=True,
            ),
            by="type",
            unit="none",
            width=12,
            height=8,
        ),
        over_time(
            LATENCY_PANEL,
            "Kafka to table",
            "Time from Kafka's timestamp to the row in ClickHouse. Dashboards show a fact about a second "
            "later, unless projections are behind.",
            Query(
                f"""SELECT $__timeInterval(inserted_at) AS time, quantile(0.5)({LATE}) AS "50 %",
                    quantile(0.95)({LATE}) AS "95 %", max({LATE}) AS slowest
                FROM events WHERE {INGESTED} GROUP BY time ORDER BY time""",
                series=True,
            ),
            draw="line",
            unit=MILLISECONDS,
            width=12,
            height=8,
        ),
        over_time(
            204,
            "Happening to table",
            "Time from occurred_at, by the producer's clock, to the row in ClickHouse. Phones without a "
            "network send late; a median that grows says that a producer holds events back.",
            Query(
                f"""SELECT $__timeInterval(inserted_at) AS time,
                    quantile(0.5)(dateDiff('millisecond', occurred_at, inserted_at)) AS "50 %",
                    quantile(0.95)(dateDiff('millisecond', occurred_at, inserted_at)) AS "95 %"
                FROM events WHERE {INGESTED} GROUP BY time ORDER BY time""",
                series=True,
            ),
            draw="line",
            unit=MILLISECONDS,
            width=12,
            height=8,
        ),
    ]


def _progress() -> list[Panel]:
    return [
        grid(
            301,
            "Partitions",
            "How far ingest is, by partition: the newest offset written in the range, its time on Kafka, "
            "and how long ago a row of the partition was written. How many messages wait beyond that, only "
            "Kafka knows (`kafka-consumer-groups --describe`).",
            Query(
                f"""SELECT toString(topic) AS Topic, toString(partition) AS Partition,
                    toString(max(offset)) AS Offset, max(received_at) AS "On Kafka at",
                    dateDiff('second', max(inserted_at), now64(3)) AS "Written ago"
                FROM events WHERE {INGESTED} GROUP BY topic, partition ORDER BY topic, partition"""
            ),
            width=10,
            height=8,
            empty="Nothing written in this range",
            overrides={"Written ago": {"unit": SECONDS}},
        ),
        grid(
            302,
            "Behind",
            "Quarters of an hour with facts written in the range that the projections have not seen all of, "
            "and for how long the first of these has been waiting.",
            Query(
                f"""SELECT {GALLERY} AS Gallery, toString(type) AS Type, bucket AS Quarter,
                    dateDiff('second', waiting_since, now64(3)) AS Waiting
                FROM buckets_behind(since = {SINCE}) AS asked {PLAN}
                ORDER BY waiting_since, asked.gallery_id, type, bucket LIMIT 100"""
            ),
            width=9,
            height=8,
            empty="Projections have seen every fact",
            overrides={"Waiting": {"unit": SECONDS}},
        ),
        grid(
            303,
            "Looks",
            "Refresh looks for quarters that are behind at start and once a minute. An old look: no refresh "
            "worker runs.",
            Query(
                """SELECT toString(name) AS Look, max(until) AS "Looked until",
                    dateDiff('second', max(until), now64(3)) AS Ago
                FROM looks GROUP BY name ORDER BY name"""
            ),
            width=5,
            height=8,
            empty="No refresh worker has looked yet",
            overrides={"Ago": {"unit": SECONDS}},
        ),
    ]


def _letters() -> list[Panel]:
    return [
        over_time(
            401,
            "Dead letters by reason",
            "Messages that are no event, by their time on Kafka and by what is wrong with them.",
            Query(
                """SELECT $__timeInterval(received_at) AS time, toString(reason) AS reason, count() AS letters
                FROM dead_letters FINAL WHERE $__timeFilter_ms(received_at)
                GROUP BY time, reason ORDER BY time""",
                series=True,
            ),
            by="reason",
            width=8,
            height=8,
            interval="1m",
            empty="No dead letters",
        ),
        grid(
            402,
            "Latest dead letters",
            "The newest of the range: reason, the first field that is wrong, the producer, and where the "
            "message lies. The bytes are in the table dead_letters.",
            Query(
                """SELECT received_at AS Time, toString(reason) AS Reason, field AS Field, detail AS Detail,
                    producer AS Producer,
                    concat(toString(topic), '/', toString(partition), '/', toString(offset)) AS Message
                FROM dead_letters FINAL WHERE $__timeFilter_ms(received_at)
                ORDER BY received_at DESC, letter_id LIMIT 50"""
            ),
            width=10,
            height=8,
            empty="No dead letters",
        ),
        grid(
            403,
            "Latest conflicts",
            "Keys that came with different contents, newest first, at any time.",
            Query(
                """SELECT occurred_at AS Time, toString(gallery_id) AS Gallery, toString(type) AS Type,
                    toString(event_id) AS Id
                FROM conflicts FINAL ORDER BY occurred_at DESC, gallery_id, type, event_id LIMIT 50"""
            ),
            width=6,
            height=8,
            empty="No conflicts",
        ),
    ]


def _faces() -> list[Panel]:
    return [
        grid(
            501,
            "Photos waiting",
            "Photos uploaded in the range, more than ten minutes ago, without faces.detected or "
            "faces.failed, by gallery, and for how long the oldest has been waiting.",
            Query(
                f"""SELECT {GALLERY} AS Gallery, photos AS Photos, waiting AS "Oldest waits"
                FROM
                (
                    SELECT gallery_id, count() AS photos,
                        dateDiff('second', min(uploaded_at), now64(3)) AS waiting
                    {WAITING} GROUP BY gallery_id
                ) AS asked {PLAN} ORDER BY photos DESC, asked.gallery_id"""
            ),
            width=6,
            height=8,
            empty="No photo is waiting",
            overrides={"Oldest waits": {"unit": SECONDS}},
        ),
        over_time(
            502,
            "Photos looked at",
            "Photos with faces.detected, and those with faces.failed by reason, by the time of the event.",
            Query(
                """SELECT $__timeInterval(occurred_at) AS time,
                    if(type = 'faces.detected', 'detected', toString(reason)) AS outcome, count() AS photos
                FROM events FINAL
                WHERE type IN ('faces.detected', 'faces.failed') AND $__timeFilter_ms(occurred_at)
                GROUP BY time, outcome ORDER BY time""",
                series=True,
            ),
            by="outcome",
            width=6,
            height=8,
            interval="1m",
            empty="No photo was looked at",
        ),
        over_time(
            503,
            "Time per photo",
            "What the face worker took for a photo (duration_ms of faces.detected).",
            Query(
                """SELECT $__timeInterval(occurred_at) AS time, quantile(0.5)(duration_ms) AS "50 %",
                    quantile(0.95)(duration_ms) AS "95 %"
                FROM events FINAL WHERE type = 'faces.detected' AND $__timeFilter_ms(occurred_at)
                GROUP BY time ORDER BY time""",
                series=True,
            ),
            draw="line",
            unit=MILLISECONDS,
            width=6,
            height=8,
            interval="1m",
            empty="No photo was looked at",
        ),
        over_time(
            UPLOADS_PANEL,
            "Failed uploads",
            "photo.upload_failed by reason, by the time of the event.",
            Query(
                """SELECT $__timeInterval(occurred_at) AS time, toString(reason) AS reason, count() AS uploads
                FROM events FINAL WHERE type = 'photo.upload_failed' AND $__timeFilter_ms(occurred_at)
                GROUP BY time, reason ORDER BY time""",
                series=True,
            ),
            by="reason",
            width=6,
            height=8,
            interval="1m",
            empty="No failed uploads",
        ),
    ]
