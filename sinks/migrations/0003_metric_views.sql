-- One definition per metric. A range is [since, until) on occurred_at, to the millisecond: things (a
-- photo, a selfie, a group) are filtered by their own times; where rows stand for a quarter of an hour,
-- whole quarters [lo, hi) come from the projection and the two that the range cuts from the facts.
-- occurred_at is compared with DateTime64 alone: with a DateTime, ClickHouse 26.9 skips parts that hold a row
-- in the last second before it.

-- Sets are read through these three views, whole columns at a time. `photos FINAL` with an element of a tuple,
-- as in last_highlight.highlighted, would take the element from any of the rows that belong together:
-- ClickHouse then reads the element as a column of its own and does not merge it.

CREATE VIEW photo_states COMMENT 'One row per photo, merged' AS
SELECT gallery_id, photo_id, first_upload, last_highlight, last_faces, last_groups, processed, deleted
FROM photos FINAL;

CREATE VIEW selfie_states COMMENT 'One row per selfie, merged' AS
SELECT gallery_id, selfie_id, first_taken, first_match, last_miss
FROM selfies FINAL;

CREATE VIEW group_states COMMENT 'One row per group, merged' AS
SELECT gallery_id, group_id, created, first_retrieved, first_found, last_match, merged
FROM groups FINAL;

CREATE VIEW schedules COMMENT 'Latest announcement of each gallery' AS
SELECT gallery_id, latest.name AS name, latest.organizer_id AS organizer_id, latest.organizer AS organizer,
    latest.starts_at AS starts_at, latest.ends_at AS ends_at, latest.timezone AS timezone
FROM (SELECT gallery_id, max(latest) AS latest FROM galleries GROUP BY gallery_id);

CREATE VIEW attendee_names COMMENT 'Names that may be shown: registered, with consent, not erased' AS
SELECT gallery_id, visitor_id, latest.name AS name
FROM (SELECT gallery_id, visitor_id, max(latest) AS latest FROM attendees WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, visitor_id)
WHERE latest.consent;

CREATE VIEW group_roots COMMENT 'Groups that were merged, and the group at the end of their merges (16 links at most)' AS
WITH
    links AS
    (
        SELECT gallery_id, groupArray(group_id) AS ids, groupArray(merged.into) AS targets
        FROM group_states
        WHERE gallery_id IN {galleries:Array(String)} AND merged.into NOT IN ('', group_id)
        GROUP BY gallery_id
    ),
    -- Where each link leads, as a position; at the end of a chain it leads to itself. Then 15 steps, by doubling.
    steps AS
    (
        SELECT gallery_id, ids, targets,
            arrayMap((next, i) -> if(next = 0, i, next), arrayMap(target -> indexOf(ids, target), targets), arrayEnumerate(ids)) AS step1,
            arrayMap(i -> step1[i], step1) AS step2,
            arrayMap(i -> step2[i], step2) AS step4,
            arrayMap(i -> step4[i], step4) AS step8,
            arrayMap(i -> step8[step4[step2[i]]], step1) AS ends
        FROM links
    )
SELECT gallery_id, group_id, targets[end] AS root
FROM steps
ARRAY JOIN ids AS group_id, ends AS end;

CREATE VIEW photos_in_range COMMENT 'Photos first uploaded in the range and not deleted at any time' AS
SELECT gallery_id, photo_id, first_upload.time AS uploaded_at, first_upload.origin AS origin,
    first_upload.bytes AS bytes, first_upload.visitor_id AS visitor_id,
    last_highlight.highlighted AS highlighted, last_faces.faces AS faces, last_groups.group_ids AS group_ids, processed
FROM photo_states
WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
  AND first_upload.time >= {since:DateTime64(3, 'UTC')} AND first_upload.time < {until:DateTime64(3, 'UTC')};

CREATE VIEW people COMMENT 'Groups in the photos of the range, merges resolved, with the number of those photos' AS
WITH
    roots AS (SELECT gallery_id, group_id, root FROM group_roots(galleries = {galleries:Array(String)})),
    pairs AS
    (
        SELECT gallery_id, photo_id, arrayJoin(arrayDistinct(group_ids)) AS member
        FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    ),
    sizes AS
    (
        -- A photo can hold two groups that became one person; only then photos have to be told apart.
        SELECT gallery_id, if(root = '', member, root) AS person,
            (gallery_id, person) IN (SELECT gallery_id, root FROM roots) AS joined,
            countIf(NOT joined) + uniqExactIf(photo_id, joined) AS photos
        FROM pairs LEFT JOIN roots ON pairs.gallery_id = roots.gallery_id AND pairs.member = roots.group_id
        GROUP BY gallery_id, person
    ),
    known AS
    (
        SELECT groups.gallery_id AS gallery_id, if(root = '', groups.group_id, root) AS person,
            min(first_retrieved) AS retrieved_at, min(first_found) AS found_at, max(last_match).visitor_id AS found_by
        FROM (SELECT gallery_id, group_id, first_retrieved, first_found, last_match FROM group_states WHERE gallery_id IN {galleries:Array(String)}) AS groups
        LEFT JOIN roots ON groups.gallery_id = roots.gallery_id AND groups.group_id = roots.group_id
        GROUP BY gallery_id, person
    )
SELECT sizes.gallery_id AS gallery_id, sizes.person AS group_id, photos,
    known.person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')} AS matched,
    known.person != '' AND found_at < {until:DateTime64(3, 'UTC')} AS found,
    found_by AS visitor_id
FROM sizes LEFT JOIN known ON sizes.gallery_id = known.gallery_id AND sizes.person = known.person;

CREATE VIEW counts COMMENT 'Counts of the range by gallery, event type and quarter of an hour' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi,
    toUInt64(1) AS one
SELECT gallery_id, type, bucket, events, amount, channels, networks, sponsors, viewable, ads, campaigns, reasons
FROM metrics FINAL
WHERE gallery_id IN {galleries:Array(String)} AND bucket >= lo AND bucket < hi
UNION ALL
SELECT gallery_id, type, bucket, one,
    multiIf(type IN ('photo.downloaded', 'photos.retrieved'), toUInt64(photos),
        type = 'photo.uploaded', bytes, type = 'faces.detected', toUInt64(faces), one),
    mapFilter((k, v) -> k != '', map(channel, one)),
    mapFilter((k, v) -> k != '', map(network, one)),
    mapFilter((k, v) -> k != '', map(sponsor_id, one)),
    mapFilter((k, v) -> type = 'sponsor.impression' AND visible_ratio >= 0.5 AND visible_ms >= 1000, map(sponsor_id, one)),
    mapFilter((k, v) -> ad_id != '', map(concat(sponsor_id, ' ', ad_id), one)),
    mapFilter((k, v) -> k != '', map(campaign_id, one)),
    mapFilter((k, v) -> k != '', map(reason, one))
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)}
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
  AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'));

CREATE VIEW visitors COMMENT 'Visitors with a step in the range: 1 visit, 2 selfie, 4 match, 8 retrieval, 16 download, 32 share; channels of their visits' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, visitor_id, groupBitOr(steps) AS steps, groupUniqArrayArray(channels) AS channels
FROM
(
    SELECT gallery_id, visitor_id, steps, channels
    FROM visitor_buckets
    WHERE gallery_id IN {galleries:Array(String)} AND bucket >= lo AND bucket < hi
    UNION ALL
    SELECT gallery_id, visitor_id,
        toUInt8(transform(toString(type),
            ['gallery.visited', 'selfie.taken', 'match.found', 'photos.retrieved', 'photo.downloaded', 'photo.shared'],
            [1, 2, 4, 8, 16, 32], 0)),
        if(type = 'gallery.visited', [toString(channel)], [])
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)}
      AND type IN ('gallery.visited', 'selfie.taken', 'match.found', 'photos.retrieved', 'photo.downloaded', 'photo.shared')
      AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
      AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
)
GROUP BY gallery_id, visitor_id;

CREATE VIEW visitor_channels COMMENT 'First channel of each visitor ever, and the last one before `until`: the last that is not direct, else direct after any visit' AS
WITH toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, visitor_id,
    if(min(first).time < toDateTime64('2200-01-01 00:00:00', 3, 'UTC'), min(first).channel, 'unknown') AS first_channel,
    multiIf(max(last).channel != '', max(last).channel, max(visited), 'direct', 'unknown') AS last_channel
FROM
(
    SELECT gallery_id, visitor_id, first_visit AS first,
        if(bucket < hi, last_nondirect, CAST((toDateTime64('1900-01-01 00:00:00', 3, 'UTC'), '', 0, ''), toTypeName(last_nondirect))) AS last,
        bucket < hi AND bitAnd(steps, 1) AS visited
    FROM visitor_buckets
    WHERE gallery_id IN {galleries:Array(String)}
    UNION ALL
    SELECT gallery_id, visitor_id,
        CAST((toDateTime64('2299-12-31 00:00:00', 3, 'UTC'), '', 0, ''), 'Tuple(time DateTime64(3, \'UTC\'), event_id String, content UInt64, channel String)'),
        CAST(if(channel != 'direct',
            (occurred_at, toString(event_id), content, toString(channel)),
            (toDateTime64('1900-01-01 00:00:00', 3, 'UTC'), '', toUInt64(0), '')), 'Tuple(time DateTime64(3, \'UTC\'), event_id String, content UInt64, channel String)'),
        1
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type = 'gallery.visited'
      AND occurred_at >= toDateTime64(hi, 3, 'UTC') AND occurred_at < {until:DateTime64(3, 'UTC')}
)
GROUP BY gallery_id, visitor_id;

CREATE VIEW kpis COMMENT 'The KPI cards: one row' AS
SELECT uploaded, uploaded_organizer, contributed, total_bytes AS bytes, bytes_organizer, bytes_community, highlights AS highlighted,
    face_count AS faces, face_groups, matched_groups, face_groups - matched_groups AS unmatched_groups, found_not_opened,
    if(face_groups = 0, NULL, matched_groups / face_groups) AS match_rate,
    if(face_groups = 0, NULL, pairs / face_groups) AS photos_per_person,
    downloads, shares
FROM
(
    SELECT count() AS uploaded, countIf(origin = 'organizer') AS uploaded_organizer, countIf(origin = 'community') AS contributed,
        sum(bytes) AS total_bytes, sumIf(bytes, origin = 'organizer') AS bytes_organizer, sumIf(bytes, origin = 'community') AS bytes_community,
        countIf(highlighted) AS highlights, sum(faces) AS face_count
    FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
) AS uploads
CROSS JOIN
(
    SELECT count() AS face_groups, countIf(matched) AS matched_groups, countIf(NOT matched AND found) AS found_not_opened, sum(photos) AS pairs
    FROM people(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
) AS persons
CROSS JOIN
(
    SELECT sumIf(amount, type = 'photo.downloaded') AS downloads, sumIf(events, type = 'photo.shared') AS shares
    FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    WHERE type IN ('photo.downloaded', 'photo.shared')
) AS uses;

CREATE VIEW shares_by_network COMMENT 'Shares by social network' AS
SELECT pair.1 AS network, sum(pair.2) AS shares
FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
ARRAY JOIN CAST(networks, 'Array(Tuple(String, UInt64))') AS pair
WHERE type = 'photo.shared'
GROUP BY network
HAVING shares > 0
ORDER BY shares DESC, network;

CREATE VIEW top_people COMMENT 'People by number of photos; the name is that of the latest match, where it may be shown' AS
SELECT gallery_id, group_id, names.name AS name, photos
FROM people(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS persons
LEFT JOIN attendee_names(galleries = {galleries:Array(String)}) AS names
    ON persons.gallery_id = names.gallery_id AND persons.visitor_id = names.visitor_id
ORDER BY photos DESC, gallery_id, group_id;

CREATE VIEW funnel COMMENT 'Seven steps from photo to share, with the ratio to the step before; units change on the way' AS
SELECT position AS step, name, count, if(step = 1 OR before = 0, NULL, count / before) AS ratio
FROM
(
    SELECT position, name, count, lagInFrame(count) OVER (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS before
    FROM
    (
        SELECT pair.1 AS position, pair.2 AS name, pair.3 AS count
        FROM
        (
            SELECT uploaded, faces, face_groups, downloads, shares
            FROM kpis(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
        ) AS cards
        CROSS JOIN
        (
            SELECT
                countIf(first_taken.time >= {since:DateTime64(3, 'UTC')} AND first_taken.time < {until:DateTime64(3, 'UTC')}) AS selfies_taken,
                countIf(first_match.time >= {since:DateTime64(3, 'UTC')} AND first_match.time < {until:DateTime64(3, 'UTC')}) AS selfies_matched
            FROM selfie_states
            WHERE gallery_id IN {galleries:Array(String)}
        ) AS looks
        ARRAY JOIN
        [
            (1, 'photos', uploaded), (2, 'faces', faces), (3, 'face_groups', face_groups), (4, 'selfies', selfies_taken),
            (5, 'matched_selfies', selfies_matched), (6, 'downloads', downloads), (7, 'shares', shares)
        ] AS pair
    )
)
ORDER BY step;

CREATE VIEW visitor_funnel COMMENT 'Visitors who did a step and all the ones before it; the steepest drop is the step with the lowest conversion' AS
WITH done AS
(
    SELECT
        countIf(bitAnd(steps, 1) = 1) AS n1, countIf(bitAnd(steps, 3) = 3) AS n2, countIf(bitAnd(steps, 7) = 7) AS n3,
        countIf(bitAnd(steps, 15) = 15) AS n4, countIf(bitAnd(steps, 31) = 31) AS n5, countIf(bitAnd(steps, 63) = 63) AS n6
    FROM visitors(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
)
SELECT position AS step, name, reached AS visitors, if(before = 0, NULL, reached / before) AS conversion,
    conversion IS NOT NULL AND step = argMin(position, (ifNull(if(before = 0, NULL, reached / before), 2), position)) OVER () AS steepest,
    if(steepest, hint, '') AS advice
FROM
(
    SELECT row.1 AS position, row.2 AS name, row.3 AS reached, row.4 AS before, row.5 AS hint
    FROM done
    ARRAY JOIN
    [
        (1, 'visit', n1, 0, ''),
        (2, 'selfie', n2, n1, 'Few visitors take a selfie: put the selfie button first on the page and say what it is for.'),
        (3, 'match', n3, n2, 'Many selfies find nobody: upload more photos, and ask for selfies in good light without sunglasses.'),
        (4, 'retrieval', n4, n3, 'People are found but do not open their photos: tell them at once, by message or e-mail.'),
        (5, 'download', n5, n4, 'People look but do not download: offer all photos as one file, without a login.'),
        (6, 'share', n6, n5, 'People download but do not share: show the share buttons after the download, with a ready text.')
    ] AS row
)
ORDER BY step;

CREATE VIEW failed_selfies COMMENT 'Selfies that found nobody, by reason' AS
SELECT pair.1 AS reason, sum(pair.2) AS selfies
FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
ARRAY JOIN CAST(reasons, 'Array(Tuple(String, UInt64))') AS pair
WHERE type = 'match.missed'
GROUP BY reason
HAVING selfies > 0
ORDER BY selfies DESC, reason;

CREATE VIEW downloads_by_time COMMENT 'Downloads per quarter, hour or day of the gallery''s own zone; `time` is the instant it begins' AS
WITH
    (t, zone) -> toInt64(toUnixTimestamp(formatDateTime(t, '%F %T', zone), 'UTC')) AS wall,
    (t, zone, step) -> toInt64(toUnixTimestamp(t)) - wall(t, zone) % step AS guess
SELECT gallery_id,
    toDateTime64(begins + (local - local % seconds) - wall(toDateTime(begins, 'UTC'), zone), 3, 'UTC') AS time,
    sum(amount) AS downloads
FROM
(
    SELECT gallery_id, zone, amount, wall(bucket, zone) AS local,
        multiIf({step:String} = 'day', 86400, {step:String} = 'hour', 3600, 900) AS seconds,
        guess(bucket, zone, seconds) AS begins
    FROM
    (
        SELECT gallery_id, bucket, amount, if(schedules.timezone = '', 'UTC', schedules.timezone) AS zone
        FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
        LEFT JOIN schedules ON counted.gallery_id = schedules.gallery_id
        WHERE type = 'photo.downloaded'
    )
)
GROUP BY gallery_id, time
HAVING downloads > 0
ORDER BY gallery_id, time;

CREATE VIEW downloads_by_phase COMMENT 'Downloads before, during and after the event, by the gallery''s own days' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi,
    plan AS
    (
        SELECT gallery_id, starts_at, ends_at, timezone,
            toDateTime64(toStartOfInterval(starts_at, INTERVAL 15 MINUTE), 3, 'UTC') AS starts_in,
            toDateTime64(toStartOfInterval(ends_at, INTERVAL 15 MINUTE), 3, 'UTC') AS ends_in
        FROM schedules
        WHERE gallery_id IN {galleries:Array(String)}
    )
SELECT phases.position AS position, phases.name AS phase, sum(amount) AS downloads
FROM
(
    SELECT arrayJoin([(1, 'before'), (2, 'during'), (3, 'same_day'), (4, 'next_days'), (5, 'week_later'), (6, 'unscheduled')]) AS row,
        toUInt8(row.1) AS position, row.2 AS name
) AS phases
LEFT JOIN
(
    SELECT amount,
        if(timezone = '', 'UTC', timezone) AS zone,
        toDate(formatDateTime(t, '%F', zone)) AS local_day,
        toDate(formatDateTime(ends_at, '%F', zone)) AS last_day,
        multiIf(timezone = '', 6, t < starts_at, 1, t < ends_at, 2, local_day = last_day, 3, local_day < last_day + 7, 4, 5)::UInt8 AS phase
    FROM
    (
        SELECT amount, toDateTime64(bucket, 3, 'UTC') AS t, starts_at, ends_at, timezone
        FROM (SELECT gallery_id, bucket, amount FROM metrics FINAL WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.downloaded' AND bucket >= lo AND bucket < hi) AS whole
        LEFT JOIN plan ON whole.gallery_id = plan.gallery_id
        WHERE timezone = '' OR (t != starts_in AND t != ends_in)
        UNION ALL
        SELECT toUInt64(photos), occurred_at AS t, starts_at, ends_at, timezone
        FROM
        (
            SELECT gallery_id, photos, occurred_at, bucket
            FROM events FINAL
            WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.downloaded'
              AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
              AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC') OR (gallery_id, toDateTime64(bucket, 3, 'UTC')) IN (SELECT gallery_id, arrayJoin([starts_in, ends_in]) FROM plan))
        ) AS cut
        LEFT JOIN plan ON cut.gallery_id = plan.gallery_id
    )
) AS timed ON phases.position = timed.phase
GROUP BY position, phase
ORDER BY position;

CREATE VIEW recent_access COMMENT 'Who opened their photos, newest first' AS
SELECT occurred_at AS time, opened.event_id AS event_id, gallery_id, visitor_id, names.name AS name, group_id, photos
FROM
(
    SELECT occurred_at, toString(event_id) AS event_id, gallery_id, visitor_id, group_id, photos
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type = 'photos.retrieved'
      AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
) AS opened
LEFT JOIN attendee_names(galleries = {galleries:Array(String)}) AS names
    ON opened.gallery_id = names.gallery_id AND opened.visitor_id = names.visitor_id
ORDER BY time DESC, event_id DESC;

CREATE VIEW recent_contributions COMMENT 'Community photos by visitor, newest first' AS
SELECT gallery_id, visitor_id, any(names.name) AS name, max(uploaded_at) AS time, count() AS photos
FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS uploads
LEFT JOIN attendee_names(galleries = {galleries:Array(String)}) AS names
    ON uploads.gallery_id = names.gallery_id AND uploads.visitor_id = names.visitor_id
WHERE origin = 'community'
GROUP BY gallery_id, visitor_id
ORDER BY time DESC, gallery_id, visitor_id;

CREATE VIEW channels COMMENT 'Visits and visitors by channel; conversion is downloaders over active visitors, both by last channel' AS
WITH
    active AS
    (
        SELECT steps, visited.channels AS used,
            if(known.first_channel = '', 'unknown', known.first_channel) AS first,
            if(known.last_channel = '', 'unknown', known.last_channel) AS last
        FROM visitors(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS visited
        LEFT JOIN visitor_channels(galleries = {galleries:Array(String)}, until = {until:DateTime64(3, 'UTC')}) AS known
            ON visited.gallery_id = known.gallery_id AND visited.visitor_id = known.visitor_id
    ),
    tallied AS
    (
        SELECT pair.1 AS channel, sum(pair.2) AS visits, 0 AS visitors, 0 AS first_visitors, 0 AS last_visitors, 0 AS downloaders
        FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
        ARRAY JOIN CAST(counted.channels, 'Array(Tuple(String, UInt64))') AS pair
        WHERE type = 'gallery.visited'
        GROUP BY channel
        UNION ALL
        SELECT arrayJoin(used) AS channel, 0, count(), 0, 0, 0 FROM active GROUP BY channel
        UNION ALL
        SELECT first AS channel, 0, 0, count(), 0, 0 FROM active GROUP BY channel
        UNION ALL
        SELECT last AS channel, 0, 0, 0, count(), countIf(bitAnd(steps, 16) = 16) FROM active GROUP BY channel
    )
SELECT listed.position AS position, listed.name AS channel, sum(tallied.visits) AS visits, sum(tallied.visitors) AS visitors,
    sum(tallied.first_visitors) AS first_visitors, sum(tallied.last_visitors) AS last_visitors, sum(tallied.downloaders) AS downloaders,
    if(last_visitors = 0, NULL, downloaders / last_visitors) AS conversion
FROM
(
    SELECT arrayJoin([(1, 'direct'), (2, 'email'), (3, 'whatsapp'), (4, 'website'), (5, 'social'), (6, 'other'), (7, 'unknown')]) AS row,
        toUInt8(row.1) AS position, row.2 AS name
) AS listed
LEFT JOIN tallied ON listed.name = tallied.channel
GROUP BY position, channel
ORDER BY position;

CREATE VIEW sponsor_results COMMENT 'Sponsors: impressions, viewable impressions, clicks, CTR, unique viewers, and costs where a fee is known' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi,
    contracts AS
    (
        SELECT sponsor_id, argMax(latest.name, (latest.time, latest.event_id)) AS label, sum(latest.fee)::Decimal(18, 2) AS total, uniqExact(latest.currency) AS currencies, any(latest.currency) AS unit
        FROM (SELECT gallery_id, sponsor_id, max(latest) AS latest FROM sponsors WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, sponsor_id)
        GROUP BY sponsor_id
    ),
    shown AS
    (
        SELECT pair.1 AS sponsor_id, sumIf(pair.2, type = 'sponsor.impression') AS impressions, sumIf(pair.2, type = 'sponsor.clicked') AS clicks
        FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
        ARRAY JOIN CAST(counted.sponsors, 'Array(Tuple(String, UInt64))') AS pair
        WHERE type IN ('sponsor.impression', 'sponsor.clicked')
        GROUP BY sponsor_id
    ),
    viewed AS
    (
        SELECT pair.1 AS sponsor_id, sum(pair.2) AS viewable
        FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
        ARRAY JOIN CAST(counted.viewable, 'Array(Tuple(String, UInt64))') AS pair
        WHERE type = 'sponsor.impression'
        GROUP BY sponsor_id
    ),
    reached AS
    (
        SELECT sponsor_id, uniqExact(gallery_id, visitor_id) AS viewers
        FROM
        (
            SELECT sponsor_id, gallery_id, visitor_id FROM sponsor_buckets
            WHERE gallery_id IN {galleries:Array(String)} AND bucket >= lo AND bucket < hi AND bitAnd(seen, 1) = 1
            UNION ALL
            SELECT sponsor_id, gallery_id, visitor_id FROM events FINAL
            WHERE gallery_id IN {galleries:Array(String)} AND type = 'sponsor.impression'
              AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
              AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
        )
        GROUP BY sponsor_id
    )
SELECT named.sponsor_id AS sponsor_id, contracts.label AS name,
    shown.impressions AS impressions, viewed.viewable AS viewable, shown.clicks AS clicks,
    if(impressions = 0, NULL, clicks / impressions) AS ctr,
    reached.viewers AS viewers,
    if(currencies = 1, total, NULL) AS fee,
    if(currencies = 1, toString(unit), '') AS currency,
    if(clicks = 0, NULL, toFloat64(fee) / clicks) AS cost_per_click,
    if(viewable = 0, NULL, toFloat64(fee) * 1000 / viewable) AS cost_per_1000_viewable
FROM (SELECT sponsor_id FROM shown UNION DISTINCT SELECT sponsor_id FROM contracts) AS named
LEFT JOIN contracts ON named.sponsor_id = contracts.sponsor_id
LEFT JOIN shown ON named.sponsor_id = shown.sponsor_id
LEFT JOIN viewed ON named.sponsor_id = viewed.sponsor_id
LEFT JOIN reached ON named.sponsor_id = reached.sponsor_id
ORDER BY impressions DESC, sponsor_id;

CREATE VIEW sponsor_ads COMMENT 'Impressions, clicks and CTR of each ad' AS
SELECT splitByChar(' ', pair.1)[1] AS sponsor_id, splitByChar(' ', pair.1)[2] AS ad_id,
    sumIf(pair.2, type = 'sponsor.impression') AS impressions, sumIf(pair.2, type = 'sponsor.clicked') AS clicks,
    if(impressions = 0, NULL, clicks / impressions) AS ctr
FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
ARRAY JOIN CAST(ads, 'Array(Tuple(String, UInt64))') AS pair
WHERE type IN ('sponsor.impression', 'sponsor.clicked')
GROUP BY sponsor_id, ad_id
ORDER BY sponsor_id, ad_id;

CREATE VIEW download_growth COMMENT 'Downloads of the last whole local day of the range and of the day before, per gallery that has both' AS
SELECT gallery_id, sumIf(amount, day = last_day) AS last_downloads, sumIf(amount, day = last_day - 1) AS previous_downloads
FROM
(
    SELECT wanted.gallery_id AS gallery_id, amount, toDate(formatDateTime(bucket, '%F', zone)) AS day,
        toDate(formatDateTime({until:DateTime64(3, 'UTC')}, '%F', zone)) - 1 AS last_day,
        toDate(formatDateTime({since:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND, '%F', zone)) AS day_before_range
    FROM
    (
        SELECT listed.gallery_id AS gallery_id, if(schedules.timezone = '', 'UTC', schedules.timezone) AS zone
        FROM (SELECT arrayJoin(arrayDistinct({galleries:Array(String)})) AS gallery_id) AS listed
        LEFT JOIN schedules ON listed.gallery_id = schedules.gallery_id
    ) AS wanted
    LEFT JOIN
    (
        SELECT gallery_id, bucket, amount
        FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
        WHERE type = 'photo.downloaded'
    ) AS counted ON wanted.gallery_id = counted.gallery_id
    WHERE day_before_range < last_day - 1
)
GROUP BY gallery_id;

CREATE VIEW targets COMMENT 'Targets: value, status and what to do if it is low' AS
SELECT row.1 AS position, row.2 AS metric, row.3 AS value, row.4 AS target,
    multiIf(value IS NULL, 'no data', target IS NULL OR value > target, 'ok', 'low') AS status,
    if(status = 'low' OR (metric = 'steepest_drop' AND value IS NOT NULL), row.5, '') AS advice
FROM
(
    SELECT match_rate, if(downloads = 0, NULL, shares / downloads) AS share_rate, if(uploaded = 0, NULL, contributed) AS contributions
    FROM kpis(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
) AS cards
CROSS JOIN
(
    SELECT sum(last_downloads) AS latest, sum(previous_downloads) AS previous, if(latest + previous = 0, NULL, toFloat64(latest) - toFloat64(previous)) AS growth
    FROM download_growth(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
) AS days
CROSS JOIN
(
    SELECT if(sum(steepest) = 0, NULL, sumIf(conversion, steepest)) AS drop_conversion, max(advice) AS drop_advice
    FROM visitor_funnel(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
) AS steps
ARRAY JOIN
[
    (toUInt8(1), 'match_rate', toNullable(toFloat64(match_rate)), toNullable(0.5), 'Fewer than half of the people found in photos have opened theirs: announce the gallery on stage and by message, and put the QR code where people queue.'),
    (toUInt8(2), 'downloads_growth', growth, toNullable(0.), 'Downloads fell against the day before: send a reminder with the highlights, in the morning after the event.'),
    (toUInt8(3), 'share_rate', share_rate, toNullable(0.1), 'Fewer than one download in ten is shared: put share buttons beside the download and suggest a hashtag.'),
    (toUInt8(4), 'contributed', toNullable(toFloat64(contributions)), toNullable(100.), 'Few photos come from attendees: ask for them on site, and offer a prize for the best one.'),
    (toUInt8(5), 'steepest_drop', drop_conversion, CAST(NULL, 'Nullable(Float64)'), drop_advice)
] AS row
ORDER BY position;

CREATE VIEW campaign_effects COMMENT 'Visits, downloads and shares in the `span` seconds before and after each campaign sent in the range' AS
SELECT sent.gallery_id AS gallery_id, sent.campaign_id AS campaign_id, any(sent.label) AS name, any(sent.way) AS channel, any(sent.at) AS sent_at, any(sent.size) AS recipients,
    sumIf(facts.amount, facts.type = 'gallery.visited' AND facts.at < sent.at AND facts.at >= sent.earliest) AS visits_before,
    sumIf(facts.amount, facts.type = 'gallery.visited' AND facts.at >= sent.at AND facts.at < sent.latest) AS visits_after,
    sumIf(facts.amount, facts.type = 'photo.downloaded' AND facts.at < sent.at AND facts.at >= sent.earliest) AS downloads_before,
    sumIf(facts.amount, facts.type = 'photo.downloaded' AND facts.at >= sent.at AND facts.at < sent.latest) AS downloads_after,
    sumIf(facts.amount, facts.type = 'photo.shared' AND facts.at < sent.at AND facts.at >= sent.earliest) AS shares_before,
    sumIf(facts.amount, facts.type = 'photo.shared' AND facts.at >= sent.at AND facts.at < sent.latest) AS shares_after
FROM
(
    SELECT gallery_id, campaign_id, last_sent.name AS label, last_sent.channel AS way, last_sent.time AS at, last_sent.recipients AS size,
        last_sent.time - toIntervalSecond({span:UInt32}) AS earliest, last_sent.time + toIntervalSecond({span:UInt32}) AS latest
    FROM (SELECT gallery_id, campaign_id, max(latest) AS last_sent FROM campaigns WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, campaign_id)
    WHERE last_sent.time >= {since:DateTime64(3, 'UTC')} AND last_sent.time < {until:DateTime64(3, 'UTC')}
) AS sent
LEFT JOIN
(
    SELECT gallery_id, type, occurred_at AS at, if(type = 'photo.downloaded', photos, 1) AS amount
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
      AND occurred_at >= {since:DateTime64(3, 'UTC')} - toIntervalSecond({span:UInt32}) AND occurred_at < {until:DateTime64(3, 'UTC')} + toIntervalSecond({span:UInt32})
) AS facts ON sent.gallery_id = facts.gallery_id
GROUP BY gallery_id, campaign_id
ORDER BY sent_at, gallery_id, campaign_id;

CREATE VIEW daily_check COMMENT 'What to look at today: photos waiting for face processing, failed uploads, match rate' AS
SELECT 'waiting_for_faces' AS check, '' AS reason, toNullable(toFloat64(countIf(NOT processed AND uploaded_at < least({until:DateTime64(3, 'UTC')}, now64(3, 'UTC')) - INTERVAL 10 MINUTE))) AS value
FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
UNION ALL
SELECT 'upload_failed', pair.1 AS cause, toFloat64(sum(pair.2))
FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
ARRAY JOIN CAST(reasons, 'Array(Tuple(String, UInt64))') AS pair
WHERE type = 'photo.upload_failed'
GROUP BY cause
HAVING sum(pair.2) > 0
UNION ALL
SELECT 'match_rate', '', match_rate
FROM kpis(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')});
