-- What dashboards and alerts ask beside the metric views: the key figures over time and by gallery, the
-- days of an event, events side by side, and how far the projections are behind. Ranges as everywhere:
-- [since, until) on occurred_at.

CREATE VIEW kpi_timeline COMMENT 'The key figures as running totals over the range, a row per `step` seconds with news; the last row is what `kpis` says' AS
WITH
    (t -> greatest(toDateTime64(toStartOfInterval(t, toIntervalSecond({step:UInt32})), 3, 'UTC'), {since:DateTime64(3, 'UTC')})) AS start_of_step,
    roots AS (SELECT gallery_id, group_id, root FROM group_roots(galleries = {galleries:Array(String)}))
SELECT time,
    sum(sum(photos)) OVER running AS uploaded, sum(sum(size)) OVER running AS bytes, sum(sum(highlights)) OVER running AS highlighted,
    sum(sum(community)) OVER running AS contributed, sum(sum(persons)) OVER running AS face_groups,
    sum(sum(downloaded)) OVER running AS downloads, sum(sum(shared)) OVER running AS shares
FROM
(
    SELECT start_of_step(uploaded_at) AS time, count() AS photos, sum(bytes) AS size, countIf(highlighted) AS highlights,
        countIf(origin = 'community') AS community, toUInt64(0) AS persons, toUInt64(0) AS downloaded, toUInt64(0) AS shared
    FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    GROUP BY time
    UNION ALL
    SELECT start_of_step(seen_at) AS time, 0, 0, 0, 0, count(), 0, 0
    FROM
    (
        SELECT min(member_at) AS seen_at
        FROM
        (
            -- Before the join: there are far fewer groups than groups in photos.
            SELECT gallery_id, arrayJoin(group_ids) AS member, min(uploaded_at) AS member_at
            FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
            GROUP BY gallery_id, member
        ) AS members
        LEFT JOIN roots ON members.gallery_id = roots.gallery_id AND members.member = roots.group_id
        GROUP BY members.gallery_id, if(root = '', member, root)
    )
    GROUP BY time
    UNION ALL
    SELECT start_of_step(toDateTime64(bucket, 3, 'UTC')) AS time, 0, 0, 0, 0, 0, sumIf(amount, type = 'photo.downloaded'), sumIf(events, type = 'photo.shared')
    FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    WHERE type IN ('photo.downloaded', 'photo.shared')
    GROUP BY time
    UNION ALL
    SELECT arrayJoin([{since:DateTime64(3, 'UTC')}, greatest({since:DateTime64(3, 'UTC')}, {until:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND)]), 0, 0, 0, 0, 0, 0, 0
)
GROUP BY time
WINDOW running AS (ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
ORDER BY time;

CREATE VIEW kpi_changes COMMENT 'The key figures of [since, until), and those of [before, since) as `previous_`: one row' AS
WITH
    pictures AS
    (
        SELECT gallery_id, uploaded_at >= {since:DateTime64(3, 'UTC')} AS now, bytes, highlighted, origin, group_ids
        FROM photos_in_range(galleries = {galleries:Array(String)}, since = {before:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    ),
    roots AS (SELECT gallery_id, group_id, root FROM group_roots(galleries = {galleries:Array(String)}))
SELECT uploaded, bytes, highlighted, contributed, face_groups, downloads, shares,
    previous_uploaded, previous_bytes, previous_highlighted, previous_contributed, previous_face_groups, previous_downloads, previous_shares
FROM
(
    SELECT countIf(now) AS uploaded, countIf(NOT now) AS previous_uploaded,
        sumIf(pictures.bytes, now) AS bytes, sumIf(pictures.bytes, NOT now) AS previous_bytes,
        countIf(now AND pictures.highlighted) AS highlighted, countIf(NOT now AND pictures.highlighted) AS previous_highlighted,
        countIf(now AND origin = 'community') AS contributed, countIf(NOT now AND origin = 'community') AS previous_contributed
    FROM pictures
) AS uploads
CROSS JOIN
(
    SELECT countIf(seen_now) AS face_groups, countIf(seen_before) AS previous_face_groups
    FROM
    (
        SELECT max(member_now) AS seen_now, max(member_before) AS seen_before
        FROM
        (
            SELECT gallery_id, arrayJoin(group_ids) AS member, max(now) AS member_now, max(NOT now) AS member_before
            FROM pictures
            GROUP BY gallery_id, member
        ) AS members
        LEFT JOIN roots ON members.gallery_id = roots.gallery_id AND members.member = roots.group_id
        GROUP BY members.gallery_id, if(root = '', member, root)
    )
) AS persons
CROSS JOIN
(
    SELECT sumIf(amount, type = 'photo.downloaded') AS downloads, sumIf(events, type = 'photo.shared') AS shares
    FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    WHERE type IN ('photo.downloaded', 'photo.shared')
) AS uses
CROSS JOIN
(
    SELECT sumIf(amount, type = 'photo.downloaded') AS previous_downloads, sumIf(events, type = 'photo.shared') AS previous_shares
    FROM counts(galleries = {galleries:Array(String)}, since = {before:DateTime64(3, 'UTC')}, until = {since:DateTime64(3, 'UTC')})
    WHERE type IN ('photo.downloaded', 'photo.shared')
) AS previous_uses;

CREATE VIEW kpis_by_gallery COMMENT 'Key figures of each gallery that had anything in the range' AS
SELECT gallery_id, sum(a) AS uploaded, sum(b) AS contributed, sum(c) AS face_groups, sum(d) AS matched_groups,
    if(face_groups = 0, NULL, matched_groups / face_groups) AS match_rate,
    sum(e) AS active_visitors, sum(f) AS downloads, sum(g) AS shares, if(downloads = 0, NULL, shares / downloads) AS share_rate,
    sum(h) AS uploads_failed
FROM
(
    SELECT gallery_id, count() AS a, countIf(origin = 'community') AS b, toUInt64(0) AS c, toUInt64(0) AS d, toUInt64(0) AS e, toUInt64(0) AS f, toUInt64(0) AS g, toUInt64(0) AS h
    FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    GROUP BY gallery_id
    UNION ALL
    SELECT gallery_id, 0, 0, count(), countIf(matched), 0, 0, 0, 0
    FROM people(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    GROUP BY gallery_id
    UNION ALL
    SELECT gallery_id, 0, 0, 0, 0, count(), 0, 0, 0
    FROM visitors(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    GROUP BY gallery_id
    UNION ALL
    SELECT gallery_id, 0, 0, 0, 0, 0, sumIf(amount, type = 'photo.downloaded'), sumIf(events, type = 'photo.shared'), sumIf(events, type = 'photo.upload_failed')
    FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    WHERE type IN ('photo.downloaded', 'photo.shared', 'photo.upload_failed')
    GROUP BY gallery_id
)
GROUP BY gallery_id
ORDER BY gallery_id;

CREATE VIEW steepest_drops COMMENT 'The steepest drop of the visitor funnel of each gallery: its step with the lowest conversion, the first of equals' AS
SELECT gallery_id, step.2.2 AS name, step.2.3 AS visitors_before, step.1 AS conversion
FROM
(
    -- The tuple is compared from the left: conversion, then the position of the step.
    SELECT gallery_id, min((reached / before, (position, name, before))) AS step
    FROM
    (
        SELECT gallery_id, row.1 AS position, row.2 AS name, row.3 AS before, row.4 AS reached
        FROM
        (
            SELECT gallery_id,
                countIf(bitAnd(steps, 1) = 1) AS n1, countIf(bitAnd(steps, 3) = 3) AS n2, countIf(bitAnd(steps, 7) = 7) AS n3,
                countIf(bitAnd(steps, 15) = 15) AS n4, countIf(bitAnd(steps, 31) = 31) AS n5, countIf(bitAnd(steps, 63) = 63) AS n6
            FROM visitors(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
            GROUP BY gallery_id
        )
        ARRAY JOIN [(1, 'selfie', n1, n2), (2, 'match', n2, n3), (3, 'retrieval', n3, n4), (4, 'download', n4, n5), (5, 'share', n5, n6)] AS row
    )
    WHERE before > 0
    GROUP BY gallery_id
)
ORDER BY gallery_id;

CREATE VIEW event_days COMMENT 'The spans of each scheduled event: 30 days before, during, each day in its own zone, 30 days after' AS
WITH
    (t, zone) -> toInt64(toUnixTimestamp(formatDateTime(t, '%F %T', zone), 'UTC')) AS wall,
    (x, zone) -> wall(toDateTime(x, 'UTC'), zone) - x AS offset_at,
    -- A midnight that the clock jumps over begins at the jump; of two midnights the first one counts.
    (day, zone) -> arrayMin(arrayFilter(x -> formatDateTime(toDateTime(x, 'UTC'), '%F', zone) = toString(day),
        arrayMap(x -> toInt64(toUnixTimestamp(toDateTime(day, 'UTC'))) - offset_at(toInt64(toUnixTimestamp(toDateTime(day, 'UTC'))) + x, zone), [-86400, 86400]))) AS midnight
SELECT gallery_id, gallery, starts_at, ends_at, row.1 AS position, row.2 AS span, row.3 AS begins, row.4 AS ends
FROM
(
    SELECT gallery_id, name AS gallery, starts_at, ends_at, timezone AS zone,
        toDate(formatDateTime(starts_at, '%F', zone)) AS first_day,
        greatest(first_day, toDate(formatDateTime(ends_at - INTERVAL 1 MILLISECOND, '%F', zone))) AS last_day
    FROM schedules
    WHERE gallery_id IN {galleries:Array(String)}
)
ARRAY JOIN arrayConcat(
    [(toUInt16(0), 'before', starts_at - INTERVAL 30 DAY, starts_at), (toUInt16(1), 'during', starts_at, ends_at)],
    arrayMap(n -> (toUInt16(n + 2), concat('day ', toString(n + 1)),
            toDateTime64(midnight(first_day + n, zone), 3, 'UTC'), toDateTime64(midnight(first_day + n + 1, zone), 3, 'UTC')),
        range(least(toUInt32(last_day - first_day + 1), 60))),
    [(toUInt16(1000), 'after', ends_at, ends_at + INTERVAL 30 DAY)]) AS row
ORDER BY starts_at, gallery_id, position;

CREATE VIEW campaigns_sent COMMENT 'Campaigns sent in the range' AS
SELECT gallery_id, campaign_id, last_sent.time AS sent_at, last_sent.name AS name, last_sent.channel AS channel, last_sent.recipients AS recipients
FROM (SELECT gallery_id, campaign_id, max(latest) AS last_sent FROM campaigns WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, campaign_id)
WHERE sent_at >= {since:DateTime64(3, 'UTC')} AND sent_at < {until:DateTime64(3, 'UTC')}
ORDER BY sent_at, gallery_id, campaign_id;

CREATE VIEW activity COMMENT 'What happened in each gallery, at any time: photos, visits, downloads and shares with the quarter of an hour, or the instant where the event does not start on one' AS
SELECT gallery_id, gallery, starts_at, zone, at, photos, contributed, visits, downloads, shares
FROM
(
    SELECT gallery_id, name AS gallery, starts_at, timezone AS zone, toUnixTimestamp64Milli(starts_at) % 900000 = 0 AS on_quarter
    FROM schedules
    WHERE gallery_id IN {galleries:Array(String)}
) AS plan
INNER JOIN
(
    SELECT gallery_id, 2 AS cut, uploaded_at AS at, toUInt64(1) AS photos, toUInt64(origin = 'community') AS contributed, toUInt64(0) AS visits, toUInt64(0) AS downloads, toUInt64(0) AS shares
    FROM photos_in_range(galleries = {galleries:Array(String)}, since = '2000-01-01 00:00:00', until = '2100-01-01 00:00:00')
    UNION ALL
    SELECT gallery_id, 1, toDateTime64(bucket, 3, 'UTC'), 0, 0, if(type = 'gallery.visited', events, 0), if(type = 'photo.downloaded', amount, 0), if(type = 'photo.shared', events, 0)
    FROM metrics FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
    UNION ALL
    SELECT gallery_id, 0, occurred_at, 0, 0, type = 'gallery.visited', if(type = 'photo.downloaded', toUInt64(photos), 0), type = 'photo.shared'
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
      AND gallery_id IN (SELECT gallery_id FROM schedules WHERE toUnixTimestamp64Milli(starts_at) % 900000 != 0)
) AS happened ON plan.gallery_id = happened.gallery_id
WHERE cut = 2 OR cut = on_quarter;

CREATE VIEW activity_by_hour COMMENT 'Photos, visits, downloads and shares of each event by hours since its start (negative before it)' AS
SELECT gallery_id, gallery, toInt32(intDiv(toUnixTimestamp64Milli(at) - toUnixTimestamp64Milli(starts_at) + 3600000 * 1000000, 3600000) - 1000000) AS hour,
    sum(photos) AS photos, sum(contributed) AS contributed, sum(visits) AS visits, sum(downloads) AS downloads, sum(shares) AS shares
FROM activity(galleries = {galleries:Array(String)})
GROUP BY gallery_id, gallery, hour
ORDER BY gallery_id, hour;

CREATE VIEW activity_by_day COMMENT 'Photos, visits, downloads and shares of each event by day in its own zone; day 1 is the day it starts' AS
SELECT gallery_id, gallery, toInt32(toDate(formatDateTime(at, '%F', zone)) - toDate(formatDateTime(starts_at, '%F', zone)) + 1) AS day,
    sum(photos) AS photos, sum(contributed) AS contributed, sum(visits) AS visits, sum(downloads) AS downloads, sum(shares) AS shares
FROM activity(galleries = {galleries:Array(String)})
GROUP BY gallery_id, gallery, day
ORDER BY gallery_id, day;

CREATE VIEW sponsor_by_gallery COMMENT 'Impressions, viewable impressions, clicks and CTR of each sponsor in each gallery' AS
SELECT gallery_id, sponsor_id, sum(shown) AS impressions, sum(seen) AS viewable, sum(pressed) AS clicks,
    if(impressions = 0, NULL, clicks / impressions) AS ctr
FROM
(
    SELECT gallery_id, pair.1 AS sponsor_id, if(type = 'sponsor.impression', pair.2, 0) AS shown, toUInt64(0) AS seen, if(type = 'sponsor.clicked', pair.2, 0) AS pressed
    FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
    ARRAY JOIN CAST(counted.sponsors, 'Array(Tuple(String, UInt64))') AS pair
    WHERE type IN ('sponsor.impression', 'sponsor.clicked')
    UNION ALL
    SELECT gallery_id, pair.1, 0, pair.2, 0
    FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
    ARRAY JOIN CAST(counted.viewable, 'Array(Tuple(String, UInt64))') AS pair
    WHERE type = 'sponsor.impression'
)
GROUP BY gallery_id, sponsor_id
ORDER BY gallery_id, sponsor_id;

CREATE VIEW buckets_behind COMMENT 'Quarters of an hour with facts inserted since then that `metrics` has not seen all of, and when the first of these came' AS
SELECT gallery_id, type, bucket, waiting_since
FROM
(
    SELECT gallery_id, type, bucket, sum(toUInt128(content) + 1) AS seen, minIf(inserted_at, inserted_at >= {since:DateTime64(3, 'UTC')}) AS waiting_since
    FROM events FINAL
    WHERE (gallery_id, type, bucket) IN (SELECT DISTINCT gallery_id, type, bucket FROM events WHERE inserted_at >= {since:DateTime64(3, 'UTC')})
    GROUP BY gallery_id, type, bucket
) AS facts
LEFT JOIN (SELECT gallery_id, type, bucket, version FROM metrics FINAL) AS done USING (gallery_id, type, bucket)
WHERE done.version < facts.seen
ORDER BY waiting_since;
