"""Health: what could not be read, and what came twice or oddly."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from grafana.dashboards.health_panels import INGESTED, flow, listing
from grafana.queries import GALLERY, PLAN


def letters() -> list[Panel]:
    return [
        flow(
            401,
            "Dead letters by reason",
            "Messages that are no event, by their time on Kafka and by what is wrong with them.",
            """SELECT $__timeInterval(received_at) AS time, toString(reason) AS reason, count() AS letters
                FROM dead_letters FINAL WHERE $__timeFilter_ms(received_at)
                GROUP BY time, reason ORDER BY time""",
            by="reason",
            width=8,
            interval="1m",
            empty="No dead letters",
        ),
        listing(
            402,
            "Latest dead letters",
            "The newest of the range: reason, the first field that is wrong, the producer, and where the "
            "message lies. The bytes are in the table dead_letters.",
            """SELECT received_at AS Time, toString(reason) AS Reason, field AS Field, detail AS Detail,
                    producer AS Producer,
                    concat(toString(topic), '/', toString(partition), '/', toString(offset)) AS Message
                FROM dead_letters FINAL WHERE $__timeFilter_ms(received_at)
                ORDER BY received_at DESC, letter_id LIMIT 50""",
            width=10,
            empty="No dead letters",
        ),
        listing(
            403,
            "Latest conflicts",
            "Keys that came with different contents, newest first, at any time.",
            """SELECT occurred_at AS Time, toString(gallery_id) AS Gallery, toString(type) AS Type,
                    toString(event_id) AS Id
                FROM conflicts FINAL ORDER BY occurred_at DESC, gallery_id, type, event_id LIMIT 50""",
            width=6,
            empty="No conflicts",
        ),
        listing(
            404,
            "Odd facts",
            "Facts written in the range that may be a producer's mistake. One id, several: each counts. "
            "Rescheduled: a gallery got other times or another zone after its start, and everything by phase "
            "and day was counted anew.",
            f"""SELECT what AS What, {GALLERY} AS Gallery, detail AS Detail, facts AS Facts, latest AS Latest
            FROM
            (
                SELECT 'One id, several facts' AS what, any(told.gallery_id) AS gallery_id,
                    toString(event_id) AS detail, uniqExact(told.gallery_id, type, occurred_at) AS facts,
                    max(occurred_at) AS latest
                FROM events AS told
                WHERE {INGESTED} AND event_id IN
                (
                    SELECT event_id FROM events WHERE {INGESTED} GROUP BY event_id HAVING count() > 1
                )
                GROUP BY event_id HAVING facts > 1
                UNION ALL
                SELECT 'Rescheduled', gallery_id,
                    concat(formatDateTime(before, '%F %R'), ' → ', formatDateTime(starts_at, '%F %R '), zone),
                    1, occurred_at
                FROM
                (
                    SELECT gallery_id, occurred_at, inserted_at, starts_at, toString(timezone) AS zone,
                        (starts_at, ends_at, zone) AS plan, lagInFrame(starts_at) OVER earlier AS before,
                        lagInFrame(plan) OVER earlier AS plan_before, row_number() OVER earlier AS number
                    FROM events FINAL WHERE type = 'gallery.scheduled'
                    WINDOW earlier AS (PARTITION BY gallery_id ORDER BY occurred_at, event_id)
                )
                WHERE number > 1 AND plan != plan_before AND occurred_at >= before AND {INGESTED}
            ) AS asked {PLAN}
            ORDER BY what, latest DESC, asked.gallery_id, detail LIMIT 100""",
            width=14,
            empty="Nothing odd",
        ),
        listing(
            405,
            "Late facts",
            "Facts written in the range that Kafka got over seven days after they happened, as a producer "
            "says: an old upload, or a wrong clock. They count when they happened.",
            f"""SELECT {GALLERY} AS Gallery, asked.type AS Type, facts AS Facts, latest AS Latest,
                delay AS "Longest delay"
            FROM
            (
                SELECT gallery_id, toString(type) AS type, count() AS facts, max(occurred_at) AS latest,
                    max(dateDiff('second', occurred_at, received_at)) AS delay
                FROM events FINAL
                WHERE {INGESTED} AND received_at > occurred_at + INTERVAL 7 DAY
                GROUP BY gallery_id, type
            ) AS asked {PLAN}
            ORDER BY latest DESC, asked.gallery_id, asked.type LIMIT 100""",
            width=10,
            empty="Nothing late",
            seconds="Longest delay",
        ),
    ]
