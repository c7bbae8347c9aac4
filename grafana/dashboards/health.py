"""The pipeline itself, for whoever runs it: does everything arrive, how fast, and what is stuck."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.dashboards.health_letters import letters
from grafana.dashboards.health_panels import INGESTED, card, flow, listing, quantiles
from grafana.fields import BAD, GOOD, MILLISECONDS, WARN
from grafana.layout import Row, dashboard
from grafana.queries import GALLERY, PLAN, SINCE, ask

UID: Final = "gallery-health"
ACTIVE: Final = (
    "(SELECT groupUniqArray(toString(gallery_id)) FROM metrics WHERE bucket > $__fromTime_ms - INTERVAL 15 "
    "MINUTE AND bucket <= $__toTime_ms)"
)
"""Every gallery with a fact in the range: this dashboard and the alerts know no variables."""

LATE: Final = "dateDiff('millisecond', received_at, inserted_at)"
WAITING: Final = f"FROM {ask('photos_in_range', galleries=ACTIVE)} WHERE NOT processed"
STALLED: Final = "uploaded_at < now64(3) - INTERVAL 10 MINUTE"
MEASURED: Final = "$__timeFilter_ms(at)"
SEEN: Final = f"FROM refreshes WHERE {MEASURED} AND latency_ms IS NOT NULL"
SLOW: Final = [(None, GOOD), (10_000, WARN), (60_000, BAD)]
BY_FACTS: Final = "quantileExactWeighted({0})(latency_ms, greatest(facts, 1))"


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
            Row(400, "Dead letters, conflicts and odd facts", letters()),
            Row(500, "Faces and uploads", _faces()),
        ],
        variables=[],
        since="now-6h",
        refresh="30s",
    )


def _now() -> list[Panel]:
    return [
        card(
            101,
            "Events per second",
            "Facts written in the range / its seconds. A fact that was written twice counts twice.",
            f"""SELECT count() / ((toUnixTimestamp64Milli($__toTime_ms) - {SINCE} + 1) / 1000) AS Rate
            FROM events WHERE {INGESTED}""",
            unit="none",
            decimals=1,
        ),
        card(
            102,
            "Kafka to table, 95 %",
            "Time from Kafka's timestamp to the row in ClickHouse, for 95 % of the facts written in the "
            "range. A replay of old messages shows here as their age.",
            f"""SELECT if(count() = 0, NULL, quantile(0.95)({LATE})) AS Latency
            FROM events WHERE {INGESTED}""",
            unit=MILLISECONDS,
            decimals=0,
            steps=SLOW,
            empty="Nothing written",
        ),
        card(
            107,
            "Event to dashboard, 95 %",
            "Time from Kafka's timestamp until dashboards showed the event, for 95 % of the facts refreshed "
            "in the range; each refresh counts with its oldest fact. A replay shows as its age.",
            f"SELECT if(count() = 0, NULL, {BY_FACTS.format(0.95)}) AS Latency {SEEN}",
            unit=MILLISECONDS,
            decimals=0,
            steps=SLOW,
            empty="Nothing refreshed",
        ),
        card(
            108,
            "Consumer lag",
            "Messages on Kafka that a worker has not done its work for, on all partitions, of the worker "
            "with most: measured in the last two minutes of the range. Not measured with the embedded "
            "broker tansu, which tells wrong ends.",
            f"""SELECT max(messages) AS Lag FROM
            (
                SELECT sum(latest) AS messages FROM
                (
                    SELECT consumer, argMax(lag, at) AS latest
                    FROM consumer_lag WHERE {MEASURED} AND at > $__toTime_ms - INTERVAL 2 MINUTE
                    GROUP BY consumer, topic, partition
                )
                GROUP BY consumer
            )
            HAVING count() > 0""",
            steps=[(None, GOOD), (1000, WARN), (10_000, BAD)],
            empty="Not measured",
        ),
        card(
            103,
            "Projections behind",
            "Quarters of an hour with facts, written in the range and over a minute ago, that dashboards do "
            "not show all of yet. 0 unless refresh stands still.",
            f"""SELECT count() AS Behind FROM buckets_behind(since = {SINCE})
            WHERE waiting_since < now64(3) - INTERVAL 1 MINUTE""",
            steps=[(None, GOOD), (1, WARN), (20, BAD)],
        ),
        card(
            104,
            "Dead letters",
            "Messages of the range (by Kafka's timestamp) that are no event. Each is a mistake of a "
            "producer; the table below says which.",
            "SELECT count() AS Letters FROM dead_letters FINAL WHERE $__timeFilter_ms(received_at)",
            steps=[(None, GOOD), (1, WARN), (100, BAD)],
        ),
        card(
            105,
            "Stalled photos",
            "Photos of the range, uploaded over ten minutes ago, without faces.detected or faces.failed.",
            f"SELECT count() AS Stalled {WAITING} AND {STALLED}",
            steps=[(None, GOOD), (1, WARN), (50, BAD)],
        ),
        card(
            106,
            "Conflicts",
            "Keys (gallery, type, time, id) that ever came with different contents: a mistake of a "
            "producer. The greater content hash counts.",
            "SELECT count() AS Conflicts FROM conflicts FINAL",
            steps=[(None, GOOD), (1, WARN)],
        ),
    ]


def _ingest() -> list[Panel]:
    return [
        flow(
            201,
            "Events per second",
            "Facts by the time they were written to ClickHouse, and by their time on Kafka. Far more written "
            "is catching up, far less is falling behind.",
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
            GROUP BY time ORDER BY time
            WITH FILL FROM toStartOfInterval($__fromTime, INTERVAL $__interval_s SECOND) TO $__toTime + 1
            STEP $__interval_s""",
            draw="line",
            unit="none",
            width=12,
        ),
        flow(
            202,
            "Events per second by type",
            "Facts written, by event type.",
            f"""SELECT $__timeInterval(inserted_at) AS time, toString(type) AS type,
                count() / $__interval_s AS rate
            FROM events WHERE {INGESTED} GROUP BY time, type ORDER BY time""",
            by="type",
            unit="none",
            width=12,
        ),
        flow(
            203,
            "Kafka to table",
            "Time from Kafka's timestamp to the row in ClickHouse: the first part of the way to dashboards.",
            f"""SELECT $__timeInterval(inserted_at) AS time, {quantiles(LATE)}, max({LATE}) AS slowest
            FROM events WHERE {INGESTED} GROUP BY time ORDER BY time""",
            draw="line",
            unit=MILLISECONDS,
            width=12,
        ),
        flow(
            204,
            "Happening to table",
            "Time from occurred_at, by the producer's clock, to the row in ClickHouse. Phones without a "
            "network send late; a median that grows says that a producer holds events back.",
            f"""SELECT $__timeInterval(inserted_at) AS time,
                {quantiles("dateDiff('millisecond', occurred_at, inserted_at)")}
            FROM events WHERE {INGESTED} GROUP BY time ORDER BY time""",
            draw="line",
            unit=MILLISECONDS,
            width=12,
        ),
    ]


def _progress() -> list[Panel]:
    return [
        flow(
            304,
            "Consumer lag",
            "Messages on Kafka that a worker (consumer group) has not done its work for, on all partitions: "
            "the latest measurement of each interval. Growing: too few of these workers, or one hangs. Not "
            "measured with the embedded broker tansu.",
            f"""SELECT time, consumer, sum(latest) AS messages FROM
            (
                SELECT $__timeInterval(at) AS time, toString(consumer) AS consumer, argMax(lag, at) AS latest
                FROM consumer_lag WHERE {MEASURED} GROUP BY time, consumer, topic, partition
            )
            GROUP BY time, consumer ORDER BY time""",
            by="consumer",
            draw="line",
            interval="15s",
            empty="Not measured in this range",
        ),
        flow(
            305,
            "Event to dashboard",
            "Time from Kafka's timestamp until dashboards showed the event, by the time they did; each "
            "refresh counts with its oldest fact, as often as it has facts. A replay shows as its age.",
            f"""SELECT $__timeInterval(at) AS time, {BY_FACTS.format(0.5)} AS "50 %",
                {BY_FACTS.format(0.95)} AS "95 %", max(latency_ms) AS slowest
            {SEEN} GROUP BY time ORDER BY time""",
            draw="line",
            unit=MILLISECONDS,
            interval="15s",
            empty="Nothing refreshed",
        ),
        flow(
            306,
            "Refresh times",
            "How long refreshes of the projections took, by the time they ended. Each works on the changes "
            "that came together, so it grows with the load, and stays.",
            f"""SELECT $__timeInterval(at) AS time, {quantiles("duration_ms")},
                max(duration_ms) AS slowest
            FROM refreshes WHERE {MEASURED} GROUP BY time ORDER BY time""",
            draw="line",
            unit=MILLISECONDS,
            interval="15s",
            empty="Nothing refreshed",
        ),
        listing(
            301,
            "Partitions",
            "How far ingest is: the newest offset written, its time on Kafka, how long ago it was written.",
            f"""SELECT toString(topic) AS Topic, toString(partition) AS Partition,
                toString(max(offset)) AS Offset, max(received_at) AS "On Kafka at",
                dateDiff('second', max(inserted_at), now64(3)) AS "Written ago"
            FROM events WHERE {INGESTED} GROUP BY topic, partition ORDER BY topic, partition""",
            width=9,
            empty="Nothing written in this range",
            seconds="Written ago",
        ),
        listing(
            302,
            "Behind",
            "Quarters of an hour with facts of the range that the projections have not seen all of, and how "
            "long the first of these has been waiting.",
            f"""SELECT {GALLERY} AS Gallery, toString(type) AS Type, bucket AS Quarter,
                dateDiff('second', waiting_since, now64(3)) AS Waiting
            FROM buckets_behind(since = {SINCE}) AS asked {PLAN}
            ORDER BY waiting_since, asked.gallery_id, type, bucket LIMIT 100""",
            width=8,
            empty="Projections have seen every fact",
            seconds="Waiting",
        ),
        listing(
            303,
            "Looks",
            "Refresh looks for quarters that are behind once a minute. An old look: no refresh worker runs.",
            """SELECT toString(name) AS Look, max(until) AS "Looked until",
                dateDiff('second', max(until), now64(3)) AS Ago
            FROM looks GROUP BY name ORDER BY name""",
            width=7,
            empty="No refresh worker has looked yet",
            seconds="Ago",
        ),
    ]


def _faces() -> list[Panel]:
    return [
        listing(
            501,
            "Photos waiting for faces",
            "Photos of the range without faces.detected or faces.failed: all of them, those of over ten "
            "minutes ago (stalled), and how long the oldest has been waiting.",
            f"""SELECT {GALLERY} AS Gallery, photos AS Waiting, stalled AS Stalled, waiting AS "Oldest waits"
            FROM
            (
                SELECT gallery_id, count() AS photos, countIf({STALLED}) AS stalled,
                    dateDiff('second', min(uploaded_at), now64(3)) AS waiting
                {WAITING} GROUP BY gallery_id
            ) AS asked {PLAN} ORDER BY photos DESC, asked.gallery_id""",
            width=6,
            empty="No photo is waiting",
            seconds="Oldest waits",
        ),
        flow(
            502,
            "Photos looked at",
            "Photos with faces.detected, and those with faces.failed by reason, by the time of the event.",
            """SELECT $__timeInterval(occurred_at) AS time,
                    if(type = 'faces.detected', 'detected', toString(reason)) AS outcome, count() AS photos
                FROM events FINAL
                WHERE type IN ('faces.detected', 'faces.failed') AND $__timeFilter_ms(occurred_at)
                GROUP BY time, outcome ORDER BY time""",
            by="outcome",
            width=6,
            interval="1m",
            empty="No photo was looked at",
        ),
        flow(
            503,
            "Time per photo",
            "What the face worker took for a photo (duration_ms of faces.detected).",
            f"""SELECT $__timeInterval(occurred_at) AS time, {quantiles("duration_ms")}
                FROM events FINAL WHERE type = 'faces.detected' AND $__timeFilter_ms(occurred_at)
                GROUP BY time ORDER BY time""",
            draw="line",
            unit=MILLISECONDS,
            width=6,
            interval="1m",
            empty="No photo was looked at",
        ),
        flow(
            504,
            "Failed uploads",
            "photo.upload_failed by reason, by the time of the event.",
            """SELECT $__timeInterval(occurred_at) AS time, toString(reason) AS reason, count() AS uploads
                FROM events FINAL WHERE type = 'photo.upload_failed' AND $__timeFilter_ms(occurred_at)
                GROUP BY time, reason ORDER BY time""",
            by="reason",
            width=6,
            interval="1m",
            empty="No failed uploads",
        ),
    ]
