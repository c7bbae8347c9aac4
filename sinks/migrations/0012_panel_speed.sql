-- Dashboards ask for photos more than for anything else. A maximum of tuples makes columns of its own for every
-- row that FINAL merges; a maximum of strings compares bytes. So a photo's first and latest facts become strings:
-- time (ms since 1970 + 2^62), event_id and content hash, each with the high byte first, 32 bytes in all, and then
-- what the fact says. They compare as the tuples did. `photo_states` shows them as tuples.

ALTER TABLE photos
    ADD COLUMN IF NOT EXISTS upload SimpleAggregateFunction(min, String)
        DEFAULT if(first_upload.event_id = '', char(255), concat(
            concat(reverse(reinterpretAsFixedString(toUnixTimestamp64Milli(first_upload.time) + 0x4000000000000000)), UUIDStringToNum(first_upload.event_id), reverse(reinterpretAsFixedString(first_upload.content))),
            reinterpretAsFixedString(first_upload.bytes), first_upload.origin, ' ', first_upload.visitor_id)) AFTER photo_id,
    ADD COLUMN IF NOT EXISTS highlight SimpleAggregateFunction(max, String)
        DEFAULT if(last_highlight.event_id = '', '', concat(
            concat(reverse(reinterpretAsFixedString(toUnixTimestamp64Milli(last_highlight.time) + 0x4000000000000000)), UUIDStringToNum(last_highlight.event_id), reverse(reinterpretAsFixedString(last_highlight.content))),
            if(last_highlight.highlighted, '1', '0'))) AFTER upload,
    ADD COLUMN IF NOT EXISTS detection SimpleAggregateFunction(max, String)
        DEFAULT if(last_faces.event_id = '', '', concat(
            concat(reverse(reinterpretAsFixedString(toUnixTimestamp64Milli(last_faces.time) + 0x4000000000000000)), UUIDStringToNum(last_faces.event_id), reverse(reinterpretAsFixedString(last_faces.content))),
            reinterpretAsFixedString(last_faces.faces))) AFTER highlight,
    ADD COLUMN IF NOT EXISTS grouping SimpleAggregateFunction(max, String)
        DEFAULT if(last_groups.event_id = '', '', concat(
            concat(reverse(reinterpretAsFixedString(toUnixTimestamp64Milli(last_groups.time) + 0x4000000000000000)), UUIDStringToNum(last_groups.event_id), reverse(reinterpretAsFixedString(last_groups.content))),
            arrayStringConcat(last_groups.group_ids, ' '))) AFTER detection;

ALTER TABLE photos
    MATERIALIZE COLUMN upload, MATERIALIZE COLUMN highlight, MATERIALIZE COLUMN detection, MATERIALIZE COLUMN grouping
SETTINGS mutations_sync = 2;

ALTER TABLE photos
    MODIFY COLUMN upload SimpleAggregateFunction(min, String) DEFAULT char(255) COMMENT 'First photo.uploaded: key of 32 bytes, bytes (8 of them, low one first), origin, space, visitor; \\xFF while there is none',
    MODIFY COLUMN highlight SimpleAggregateFunction(max, String) DEFAULT '' COMMENT 'Latest photo.highlighted: key of 32 bytes, 1 or 0; empty while there is none',
    MODIFY COLUMN detection SimpleAggregateFunction(max, String) DEFAULT '' COMMENT 'Latest faces.detected: key of 32 bytes, faces (4 bytes, low one first); empty while there is none',
    MODIFY COLUMN grouping SimpleAggregateFunction(max, String) DEFAULT '' COMMENT 'Latest photo.grouped: key of 32 bytes, group ids with spaces between them; empty while there is none';

CREATE OR REPLACE VIEW photo_states COMMENT 'One row per photo, merged' AS
WITH
    (fact -> fromUnixTimestamp64Milli(reinterpretAsInt64(reverse(substring(fact, 1, 8))) - 0x4000000000000000, 'UTC')) AS time_of,
    (fact -> UUIDNumToString(toFixedString(substring(fact, 9, 16), 16))) AS event_of,
    (fact -> reinterpretAsUInt64(reverse(substring(fact, 25, 8)))) AS content_of
SELECT gallery_id, photo_id,
    if(upload = char(255), (toDateTime64('2299-12-31 00:00:00', 3, 'UTC'), '', toUInt64(0), '', toUInt64(0), ''),
        (time_of(upload), event_of(upload), content_of(upload), substring(upload, 41, position(upload, ' ', 41) - 41), reinterpretAsUInt64(substring(upload, 33, 8)), substring(upload, position(upload, ' ', 41) + 1)))
        ::Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, origin String, bytes UInt64, visitor_id String) AS first_upload,
    if(highlight = '', (toDateTime64('1900-01-01 00:00:00', 3, 'UTC'), '', toUInt64(0), false),
        (time_of(highlight), event_of(highlight), content_of(highlight), substring(highlight, 33) = '1'))
        ::Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, highlighted Bool) AS last_highlight,
    if(detection = '', (toDateTime64('1900-01-01 00:00:00', 3, 'UTC'), '', toUInt64(0), toUInt32(0)),
        (time_of(detection), event_of(detection), content_of(detection), reinterpretAsUInt32(substring(detection, 33))))
        ::Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, faces UInt32) AS last_faces,
    if(grouping = '', (toDateTime64('1900-01-01 00:00:00', 3, 'UTC'), '', toUInt64(0), []::Array(String)),
        (time_of(grouping), event_of(grouping), content_of(grouping), splitByWhitespace(substring(grouping, 33))))
        ::Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, group_ids Array(String)) AS last_groups,
    processed, deleted
FROM photos FINAL;

ALTER TABLE photo_states COMMENT COLUMN gallery_id 'Gallery', COMMENT COLUMN photo_id 'Photo',
    COMMENT COLUMN first_upload 'First photo.uploaded; the year 2299 while there is none',
    COMMENT COLUMN last_highlight 'Latest photo.highlighted', COMMENT COLUMN last_faces 'Latest faces.detected',
    COMMENT COLUMN last_groups 'Latest photo.grouped',
    COMMENT COLUMN processed 'There is a faces.detected or a faces.failed',
    COMMENT COLUMN deleted 'There is a photo.deleted';

-- The range is compared as bytes: a photo's upload begins with its time, and whatever follows makes it the greater.
CREATE OR REPLACE VIEW photos_in_range COMMENT 'Photos first uploaded in the range and not deleted at any time
gallery_id: Gallery
photo_id: Photo
uploaded_at: First upload
origin: organizer or community
bytes: Size
visitor_id: Who uploaded it first; empty where unknown
highlighted: The latest highlight is on
faces: Faces of the latest detection
group_ids: Everybody in it, by the latest grouping
processed: There is a faces.detected or a faces.failed' AS
SELECT gallery_id, photo_id,
    fromUnixTimestamp64Milli(reinterpretAsInt64(reverse(substring(upload, 1, 8))) - 0x4000000000000000, 'UTC') AS uploaded_at,
    substring(upload, 41, position(upload, ' ', 41) - 41) AS origin,
    reinterpretAsUInt64(substring(upload, 33, 8)) AS bytes,
    substring(upload, position(upload, ' ', 41) + 1) AS visitor_id,
    (substring(highlight, 33) = '1')::Bool AS highlighted,
    reinterpretAsUInt32(substring(detection, 33)) AS faces,
    splitByWhitespace(substring(grouping, 33)) AS group_ids,
    processed
FROM photos FINAL
WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
  AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000))
  AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({until:DateTime64(3, 'UTC')}) + 0x4000000000000000));


-- ClickHouse analyses a view with parameters once more at every level of views around it, and that cost as much as the
-- rows. So the views below ask tables. What several of them share are pieces, which are put in where they are named.

-- piece links: groups that were merged, and into what; rows that say nothing of a merge are left out before the maximum
SELECT gallery_id, group_id, max(merged).into AS root
FROM groups
WHERE gallery_id IN {galleries:Array(String)} AND merged.into != ''
GROUP BY gallery_id, group_id
HAVING root != group_id
-- end links

-- piece two_links: 2 links followed; those who arrive at a group meet where that group leads
SELECT gallery_id, arrayJoin(arrivals) AS group_id, if(further = '', stop, further) AS root
FROM
(
    SELECT gallery_id, link.1 AS stop, max(if(link.3, link.2, '')) AS further, groupArrayIf(link.2, NOT link.3) AS arrivals
    FROM (@links) ARRAY JOIN [(group_id, root, true), (root, group_id, false)] AS link
    GROUP BY gallery_id, stop
)
-- end two_links

-- piece four_links: 4 links followed
SELECT gallery_id, arrayJoin(arrivals) AS group_id, if(further = '', stop, further) AS root
FROM
(
    SELECT gallery_id, link.1 AS stop, max(if(link.3, link.2, '')) AS further, groupArrayIf(link.2, NOT link.3) AS arrivals
    FROM (@two_links) ARRAY JOIN [(group_id, root, true), (root, group_id, false)] AS link
    GROUP BY gallery_id, stop
)
-- end four_links

-- piece eight_links: 8 links followed
SELECT gallery_id, arrayJoin(arrivals) AS group_id, if(further = '', stop, further) AS root
FROM
(
    SELECT gallery_id, link.1 AS stop, max(if(link.3, link.2, '')) AS further, groupArrayIf(link.2, NOT link.3) AS arrivals
    FROM (@four_links) ARRAY JOIN [(group_id, root, true), (root, group_id, false)] AS link
    GROUP BY gallery_id, stop
)
-- end eight_links

-- piece roots: 16 links followed
SELECT gallery_id, arrayJoin(arrivals) AS group_id, if(further = '', stop, further) AS root
FROM
(
    SELECT gallery_id, link.1 AS stop, max(if(link.3, link.2, '')) AS further, groupArrayIf(link.2, NOT link.3) AS arrivals
    FROM (@eight_links) ARRAY JOIN [(group_id, root, true), (root, group_id, false)] AS link
    GROUP BY gallery_id, stop
)
-- end roots

-- piece appearances: each photo of the range once for itself, with an empty member, and once for each group in it
SELECT gallery_id, photo_id, upload, fromUnixTimestamp64Milli(reinterpretAsInt64(reverse(substring(upload, 1, 8))) - 0x4000000000000000, 'UTC') AS uploaded_at,
    substring(upload, 41, 10) = 'community ' AS by_community, reinterpretAsUInt64(substring(upload, 33, 8)) AS size,
    substring(highlight, 33) = '1' AS is_highlight, reinterpretAsUInt32(substring(detection, 33)) AS found_faces,
    arrayJoin(arrayConcat([''], arrayDistinct(splitByWhitespace(substring(grouping, 33))))) AS member
FROM photos FINAL
WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
  AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000))
  AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({until:DateTime64(3, 'UTC')}) + 0x4000000000000000))
-- end appearances

-- piece persons: people in the photos of the range, merges resolved; an empty person stands for all photos of the gallery
SELECT members.gallery_id AS gallery_id, if(root = '', member, root) AS person,
    -- A photo can hold two groups that became one person; only then photos have to be told apart.
    if(countIf(held > 0) = 1, sum(held), uniqExactArray(holding)) AS photos,
    sum(members.community) AS community, sum(members.bytes) AS bytes, sum(members.bytes_community) AS bytes_community,
    sum(members.highlighted) AS highlighted, sum(members.faces) AS faces,
    min(members.retrieved) AS retrieved_at, min(members.found) AS found_at, max(members.match).visitor_id AS found_by
FROM
(
    SELECT gallery_id, member, count() AS held,
        groupArrayIf(photo_id, member IN (SELECT arrayJoin([group_id, merged.into]) FROM groups WHERE gallery_id IN {galleries:Array(String)} AND merged.into != '')) AS holding,
        countIf(by_community) AS community, sum(size) AS bytes, sumIf(size, by_community) AS bytes_community,
        countIf(is_highlight) AS highlighted, sum(found_faces) AS faces,
        toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS retrieved, toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS found,
        CAST((toDateTime64('1900-01-01 00:00:00', 3, 'UTC'), '', 0, ''), 'Tuple(time DateTime64(3, \'UTC\'), event_id String, content UInt64, visitor_id String)') AS match
    FROM (@appearances)
    GROUP BY gallery_id, member
    UNION ALL
    SELECT gallery_id, group_id, 0, [], 0, 0, 0, 0, 0, first_retrieved, first_found, last_match
    FROM groups
    WHERE gallery_id IN {galleries:Array(String)}
) AS members
LEFT JOIN (@roots) AS roots ON members.gallery_id = roots.gallery_id AND members.member = roots.group_id
GROUP BY gallery_id, person
HAVING sum(held) > 0
-- end persons

-- piece used: photos downloaded and shares of the range, whole quarters [lo, hi) from the counts
SELECT gallery_id, type, bucket, amount
FROM metrics FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.downloaded', 'photo.shared') AND bucket >= lo AND bucket < hi
UNION ALL
SELECT gallery_id, type, bucket, if(type = 'photo.downloaded', photos, 1)
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.downloaded', 'photo.shared')
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
  AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
-- end used

-- piece visitors: visitors with a step in the range, as the view `visitors`
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
GROUP BY gallery_id, visitor_id
-- end visitors

-- piece visitor_steps: the view `visitor_funnel`
WITH done AS
(
    SELECT
        countIf(bitAnd(steps, 1) = 1) AS n1, countIf(bitAnd(steps, 3) = 3) AS n2, countIf(bitAnd(steps, 7) = 7) AS n3,
        countIf(bitAnd(steps, 15) = 15) AS n4, countIf(bitAnd(steps, 31) = 31) AS n5, countIf(bitAnd(steps, 63) = 63) AS n6
    FROM (@visitors)
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
ORDER BY step
-- end visitor_steps

-- piece growth: the view `download_growth`; needs lo and hi
SELECT gallery_id, sumIf(amount, day = last_day) AS last_downloads, sumIf(amount, day = last_day - 1) AS previous_downloads
FROM
(
    SELECT wanted.gallery_id AS gallery_id, amount, toDate(formatDateTime(bucket, '%F', zone)) AS day,
        toDate(formatDateTime({until:DateTime64(3, 'UTC')}, '%F', zone)) - 1 AS last_day,
        toDate(formatDateTime({since:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND, '%F', zone)) AS day_before_range
    FROM
    (
        SELECT listed.gallery_id AS gallery_id, if(plan.timezone = '', 'UTC', plan.timezone) AS zone
        FROM (SELECT arrayJoin(arrayDistinct({galleries:Array(String)})) AS gallery_id) AS listed
        LEFT JOIN (SELECT gallery_id, max(latest).timezone AS timezone FROM galleries WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id) AS plan ON listed.gallery_id = plan.gallery_id
    ) AS wanted
    LEFT JOIN
    (
        -- Both days lie in the last four times 24 hours.
        SELECT gallery_id, bucket, amount
        FROM (@used)
        WHERE type = 'photo.downloaded' AND bucket >= {until:DateTime64(3, 'UTC')} - INTERVAL 4 DAY
    ) AS counted ON wanted.gallery_id = counted.gallery_id
    WHERE day_before_range < last_day - 1
)
GROUP BY gallery_id
-- end growth

CREATE OR REPLACE VIEW group_roots COMMENT 'Groups that were merged, and the group at the end of their merges (16 links at most)
gallery_id: Gallery
group_id: Group that was merged
root: Group that it is part of now' AS
SELECT gallery_id, group_id, root
FROM (@roots);

CREATE OR REPLACE VIEW people COMMENT 'Groups in the photos of the range, merges resolved, with the number of those photos
gallery_id: Gallery
group_id: Group: one person
photos: Photos of the range with this person
matched: Somebody opened the photos before the end of the range
found: A selfie has found the person before the end of the range
visitor_id: Visitor of the latest match ever; empty without one' AS
SELECT gallery_id, person AS group_id, photos, retrieved_at < {until:DateTime64(3, 'UTC')} AS matched, found_at < {until:DateTime64(3, 'UTC')} AS found, found_by AS visitor_id
FROM (@persons)
WHERE person != '';

CREATE OR REPLACE VIEW kpis COMMENT 'The KPI cards: one row
uploaded: Photos first uploaded in the range and not deleted at any time (the photos of the range)
uploaded_organizer: Those that the organizer uploaded
contributed: Those that the community uploaded
bytes: Their size
bytes_organizer: Size of those by the organizer
bytes_community: Size of those by the community
highlighted: Those whose latest highlight is on
faces: Faces in them, by the latest detection of each
face_groups: People in them: distinct groups, merges resolved
matched_groups: Those of the people whose photos somebody opened before the end of the range
unmatched_groups: The other people
found_not_opened: Those of the others whom a selfie has found before the end of the range
match_rate: matched_groups / face_groups
photos_per_person: Pairs of a photo of the range and a person in it / face_groups
downloads: Photos downloaded in the range, every photo of a zip counted
shares: Photos shared to social networks in the range' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT uploaded, toUInt64(uploaded - community_photos) AS uploaded_organizer, community_photos AS contributed,
    all_bytes AS bytes, toUInt64(all_bytes - community_bytes) AS bytes_organizer, community_bytes AS bytes_community, highlights AS highlighted,
    face_count AS faces, face_groups, matched_groups, face_groups - matched_groups AS unmatched_groups, found_not_opened,
    if(face_groups = 0, NULL, matched_groups / face_groups) AS match_rate,
    if(face_groups = 0, NULL, pairs / face_groups) AS photos_per_person,
    downloads, shares
FROM
(
    SELECT sumIf(photos, person = '') AS uploaded, sumIf(community, person = '') AS community_photos,
        sumIf(bytes, person = '') AS all_bytes, sumIf(bytes_community, person = '') AS community_bytes,
        sumIf(highlighted, person = '') AS highlights, sumIf(faces, person = '') AS face_count,
        countIf(person != '') AS face_groups, countIf(person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')}) AS matched_groups,
        countIf(person != '' AND retrieved_at >= {until:DateTime64(3, 'UTC')} AND found_at < {until:DateTime64(3, 'UTC')}) AS found_not_opened,
        sumIf(photos, person != '') AS pairs
    FROM (@persons)
) AS pictures
CROSS JOIN
(
    SELECT sumIf(amount, type = 'photo.downloaded') AS downloads, sumIf(amount, type = 'photo.shared') AS shares
    FROM (@used)
) AS uses;

CREATE OR REPLACE VIEW kpi_timeline COMMENT 'The key figures as running totals over the range, a row per `step` seconds with news; the last row is what `kpis` says
time: Start of the step
uploaded: Photos first uploaded in the range and not deleted at any time, until the end of the step
bytes: Their size, until the end of the step
highlighted: Those whose latest highlight is on, until the end of the step
contributed: Those that the community uploaded, until the end of the step
face_groups: People in them: distinct groups, merges resolved, until the end of the step
downloads: Photos downloaded, every photo of a zip counted, until the end of the step
shares: Photos shared to social networks, until the end of the step' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi,
    (t -> greatest(toDateTime64(toStartOfInterval(t, toIntervalSecond({step:UInt32})), 3, 'UTC'), {since:DateTime64(3, 'UTC')})) AS start_of_step
SELECT time,
    sum(sum(photos)) OVER running AS uploaded, sum(sum(size)) OVER running AS bytes, sum(sum(highlights)) OVER running AS highlighted,
    sum(sum(community)) OVER running AS contributed, sum(sum(persons)) OVER running AS face_groups,
    sum(sum(downloaded)) OVER running AS downloads, sum(sum(shared)) OVER running AS shares
FROM
(
    SELECT start_of_step(first_seen) AS time, sum(held) AS photos, sum(bytes) AS size, sum(highlights) AS highlights, sum(community) AS community,
        countIf(person != '') AS persons, toUInt64(0) AS downloaded, toUInt64(0) AS shared
    FROM
    (
        -- All photos of a step together, and each person when first seen.
        SELECT if(root = '', member, root) AS person, min(member_at) AS first_seen, sumIf(photos, person = '') AS held, sumIf(total_size, person = '') AS bytes,
            sumIf(highlights, person = '') AS highlights, sumIf(community, person = '') AS community
        FROM
        (
            SELECT gallery_id, member, if(member = '', start_of_step(uploaded_at), {since:DateTime64(3, 'UTC')}) AS step_at, min(uploaded_at) AS member_at, count() AS photos,
                sum(size) AS total_size, countIf(is_highlight) AS highlights, countIf(by_community) AS community
            FROM (@appearances)
            GROUP BY gallery_id, member, step_at
        ) AS members
        LEFT JOIN (@roots) AS roots ON members.gallery_id = roots.gallery_id AND members.member = roots.group_id
        GROUP BY members.gallery_id, person, step_at
    )
    GROUP BY time
    UNION ALL
    SELECT start_of_step(toDateTime64(bucket, 3, 'UTC')) AS time, 0, 0, 0, 0, 0, sumIf(amount, type = 'photo.downloaded'), sumIf(amount, type = 'photo.shared')
    FROM (@used)
    GROUP BY time
    UNION ALL
    SELECT arrayJoin([{since:DateTime64(3, 'UTC')}, greatest({since:DateTime64(3, 'UTC')}, {until:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND)]), 0, 0, 0, 0, 0, 0, 0
)
GROUP BY time
WINDOW running AS (ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
ORDER BY time;

CREATE OR REPLACE VIEW kpi_changes COMMENT 'The key figures of [since, until), and those of [before, since) as `previous_`: one row
uploaded: Photos first uploaded in the range and not deleted at any time
bytes: Their size
highlighted: Those whose latest highlight is on
contributed: Those that the community uploaded
face_groups: People in them: distinct groups, merges resolved
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks
previous_uploaded: The same of the period before
previous_bytes: The same of the period before
previous_highlighted: The same of the period before
previous_contributed: The same of the period before
previous_face_groups: The same of the period before
previous_downloads: The same of the period before
previous_shares: The same of the period before' AS
WITH
    toStartOfInterval({before:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS earliest,
    toStartOfInterval({since:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS middle,
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT uploaded, bytes, highlighted, contributed, face_groups, downloads, shares,
    previous_uploaded, previous_bytes, previous_highlighted, previous_contributed, previous_face_groups, previous_downloads, previous_shares
FROM
(
    SELECT sumIf(now, person = '') AS uploaded, sumIf(then, person = '') AS previous_uploaded,
        sumIf(bytes_now, person = '') AS bytes, sumIf(bytes_then, person = '') AS previous_bytes,
        sumIf(highlights_now, person = '') AS highlighted, sumIf(highlights_then, person = '') AS previous_highlighted,
        sumIf(community_now, person = '') AS contributed, sumIf(community_then, person = '') AS previous_contributed,
        countIf(person != '' AND now > 0) AS face_groups, countIf(person != '' AND then > 0) AS previous_face_groups
    FROM
    (
        SELECT if(root = '', member, root) AS person, sum(members.now) AS now, sum(members.then) AS then, sum(members.bytes_now) AS bytes_now, sum(members.bytes_then) AS bytes_then,
            sum(members.highlights_now) AS highlights_now, sum(members.highlights_then) AS highlights_then,
            sum(members.community_now) AS community_now, sum(members.community_then) AS community_then
        FROM
        (
            SELECT gallery_id, member, countIf(current) AS now, countIf(NOT current) AS then, sumIf(size, current) AS bytes_now, sumIf(size, NOT current) AS bytes_then,
                countIf(current AND is_highlight) AS highlights_now, countIf(NOT current AND is_highlight) AS highlights_then,
                countIf(current AND by_community) AS community_now, countIf(NOT current AND by_community) AS community_then
            FROM
            (
                -- The piece `appearances`, from `before` on.
                SELECT gallery_id, upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000)) AS current,
                    substring(upload, 41, 10) = 'community ' AS by_community, reinterpretAsUInt64(substring(upload, 33, 8)) AS size,
                    substring(highlight, 33) = '1' AS is_highlight, reinterpretAsUInt32(substring(detection, 33)) AS found_faces,
                    arrayJoin(arrayConcat([''], arrayDistinct(splitByWhitespace(substring(grouping, 33))))) AS member
                FROM photos FINAL
                WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
                  AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({before:DateTime64(3, 'UTC')}) + 0x4000000000000000))
                  AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({until:DateTime64(3, 'UTC')}) + 0x4000000000000000))
            )
            GROUP BY gallery_id, member
        ) AS members
        LEFT JOIN (@roots) AS roots ON members.gallery_id = roots.gallery_id AND members.member = roots.group_id
        GROUP BY members.gallery_id, person
    )
) AS pictures
CROSS JOIN
(
    SELECT sumIf(amount, current AND type = 'photo.downloaded') AS downloads, sumIf(amount, current AND type = 'photo.shared') AS shares,
        sumIf(amount, NOT current AND type = 'photo.downloaded') AS previous_downloads, sumIf(amount, NOT current AND type = 'photo.shared') AS previous_shares
    FROM
    (
        -- The quarters that `before`, `since` and `until` cut come from the facts.
        SELECT type, amount, bucket >= lo AS current
        FROM metrics FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.downloaded', 'photo.shared') AND (bucket >= earliest AND bucket < middle OR bucket >= lo AND bucket < hi)
        UNION ALL
        SELECT type, if(type = 'photo.downloaded', photos, 1), occurred_at >= {since:DateTime64(3, 'UTC')}
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.downloaded', 'photo.shared')
          AND (occurred_at >= {before:DateTime64(3, 'UTC')} AND occurred_at < {since:DateTime64(3, 'UTC')} AND (occurred_at < toDateTime64(earliest, 3, 'UTC') OR occurred_at >= toDateTime64(middle, 3, 'UTC'))
            OR occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')} AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC')))
    )
) AS uses;

CREATE OR REPLACE VIEW kpis_by_gallery COMMENT 'Key figures of each gallery that had anything in the range
gallery_id: Gallery
uploaded: Photos first uploaded in the range and not deleted at any time
contributed: Those that the community uploaded
face_groups: People in them: distinct groups, merges resolved
matched_groups: Those of the people whose photos somebody opened before the end of the range
match_rate: matched_groups / face_groups
active_visitors: Visitors with a step in the range
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks
share_rate: shares / downloads
uploads_failed: Uploads that did not work' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, sum(a) AS uploaded, sum(b) AS contributed, sum(c) AS face_groups, sum(d) AS matched_groups,
    if(face_groups = 0, NULL, matched_groups / face_groups) AS match_rate,
    sum(e) AS active_visitors, sum(f) AS downloads, sum(g) AS shares, if(downloads = 0, NULL, shares / downloads) AS share_rate,
    sum(h) AS uploads_failed
FROM
(
    SELECT gallery_id, sumIf(photos, person = '') AS a, sumIf(community, person = '') AS b, countIf(person != '') AS c, countIf(person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')}) AS d,
        toUInt64(0) AS e, toUInt64(0) AS f, toUInt64(0) AS g, toUInt64(0) AS h
    FROM (@persons)
    GROUP BY gallery_id
    UNION ALL
    SELECT gallery_id, 0, 0, 0, 0, count(), 0, 0, 0
    FROM (@visitors)
    GROUP BY gallery_id
    UNION ALL
    SELECT gallery_id, 0, 0, 0, 0, 0, sumIf(amount, type = 'photo.downloaded'), sumIf(events, type = 'photo.shared'), sumIf(events, type = 'photo.upload_failed')
    FROM
    (
        SELECT gallery_id, type, amount, events
        FROM metrics FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.downloaded', 'photo.shared', 'photo.upload_failed') AND bucket >= lo AND bucket < hi
        UNION ALL
        SELECT gallery_id, type, if(type = 'photo.downloaded', photos, 1), 1
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.downloaded', 'photo.shared', 'photo.upload_failed')
          AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
          AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
    )
    GROUP BY gallery_id
)
GROUP BY gallery_id
ORDER BY gallery_id;

CREATE OR REPLACE VIEW top_people COMMENT 'People by number of photos, most first
gallery_id: Gallery
group_id: Person, merges resolved
name: Name of the attendee of the latest match ever, where it may be shown
photos: Photos of the range with this person' AS
SELECT gallery_id, person AS group_id, names.name AS name, photos
FROM (@persons) AS persons
LEFT JOIN
(
    SELECT gallery_id, visitor_id, max(latest) AS registered, registered.name AS name
    FROM attendees
    WHERE gallery_id IN {galleries:Array(String)}
    GROUP BY gallery_id, visitor_id
    HAVING registered.consent
) AS names ON persons.gallery_id = names.gallery_id AND persons.found_by = names.visitor_id
WHERE person != ''
ORDER BY photos DESC, gallery_id, group_id;

CREATE OR REPLACE VIEW funnel COMMENT 'Seven steps from photo to share; units change on the way
step: 1 to 7
name: photos, faces, face_groups, selfies, matched_selfies, downloads or shares
count: As in kpis; selfies first taken in the range, and selfies first matched in the range
ratio: count / count of the step before' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT row.1 AS step, row.2 AS name, row.3 AS count, if(step = 1 OR row.4 = 0, NULL, count / row.4) AS ratio
FROM
(
    SELECT sumIf(photos, person = '') AS uploaded, sumIf(faces, person = '') AS face_count, countIf(person != '') AS face_groups
    FROM (@persons)
) AS pictures
CROSS JOIN
(
    -- The time of the first is the first of the times: no need to merge whole tuples.
    SELECT countIf(taken_at >= {since:DateTime64(3, 'UTC')} AND taken_at < {until:DateTime64(3, 'UTC')}) AS selfies_taken, countIf(matched_at >= {since:DateTime64(3, 'UTC')} AND matched_at < {until:DateTime64(3, 'UTC')}) AS selfies_matched
    FROM
    (
        SELECT min(first_taken.time) AS taken_at, min(first_match.time) AS matched_at
        FROM selfies
        WHERE gallery_id IN {galleries:Array(String)}
        GROUP BY gallery_id, selfie_id
    )
) AS looks
CROSS JOIN
(
    SELECT sumIf(amount, type = 'photo.downloaded') AS downloads, sumIf(amount, type = 'photo.shared') AS shares
    FROM (@used)
) AS uses
ARRAY JOIN
[
    (1, 'photos', uploaded, 0), (2, 'faces', face_count, uploaded), (3, 'face_groups', face_groups, face_count), (4, 'selfies', selfies_taken, face_groups),
    (5, 'matched_selfies', selfies_matched, selfies_taken), (6, 'downloads', downloads, selfies_matched), (7, 'shares', shares, downloads)
] AS row
ORDER BY step;

CREATE OR REPLACE VIEW download_growth COMMENT 'Downloads of the last whole local day of the range and of the day before, per gallery that has both
gallery_id: Gallery
last_downloads: Photos downloaded on the last whole day
previous_downloads: Photos downloaded on the day before' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
@growth;

CREATE OR REPLACE VIEW visitor_funnel COMMENT 'Visitors who did a step and all the ones before it in the range, in whatever order
step: 1 to 6
name: visit, selfie, match, retrieval, download or share
visitors: Distinct visitors who got here
conversion: visitors / visitors of the step before
steepest: 1 for the step with the lowest conversion, the first of equals
advice: What to do about the steepest step, empty for the others' AS
@visitor_steps;

CREATE OR REPLACE VIEW steepest_drops COMMENT 'The steepest drop of the visitor funnel of each gallery: its step with the lowest conversion, the first of equals
gallery_id: Gallery
name: Step that the fewest go on to: selfie, match, retrieval, download or share
visitors_before: Visitors at the step before
conversion: Visitors who got to it / visitors_before' AS
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
            FROM (@visitors)
            GROUP BY gallery_id
        )
        ARRAY JOIN [(1, 'selfie', n1, n2), (2, 'match', n2, n3), (3, 'retrieval', n3, n4), (4, 'download', n4, n5), (5, 'share', n5, n6)] AS row
    )
    WHERE before > 0
    GROUP BY gallery_id
)
ORDER BY gallery_id;

CREATE OR REPLACE VIEW targets COMMENT 'Targets: five rows with value, status and what to do
position: 1 to 5
metric: match_rate, downloads_growth (last whole local day of the range less the day before), share_rate (shares / downloads), contributed or steepest_drop
value: Value in the range, NULL without data
target: The value has to be greater than this; the steepest drop has no target
status: ok, low or no data
advice: What to do if it is low, or about the steepest drop' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT row.1 AS position, row.2 AS metric, row.3 AS value, row.4 AS target,
    multiIf(value IS NULL, 'no data', target IS NULL OR value > target, 'ok', 'low') AS status,
    if(status = 'low' OR (metric = 'steepest_drop' AND value IS NOT NULL), row.5, '') AS advice
FROM
(
    SELECT if(face_groups = 0, NULL, matched_groups / face_groups) AS match_rate, if(uploaded = 0, NULL, community_photos) AS contributions
    FROM
    (
        SELECT sumIf(photos, person = '') AS uploaded, sumIf(community, person = '') AS community_photos,
            countIf(person != '') AS face_groups, countIf(person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')}) AS matched_groups
        FROM (@persons)
    )
) AS cards
CROSS JOIN
(
    SELECT if(downloads = 0, NULL, shares / downloads) AS share_rate
    FROM
    (
        SELECT sumIf(amount, type = 'photo.downloaded') AS downloads, sumIf(amount, type = 'photo.shared') AS shares
        FROM (@used)
    )
) AS uses
CROSS JOIN
(
    SELECT sum(last_downloads) AS latest, sum(previous_downloads) AS previous, if(latest + previous = 0, NULL, toFloat64(latest) - toFloat64(previous)) AS growth
    FROM (@growth)
) AS days
CROSS JOIN
(
    SELECT if(sum(steepest) = 0, NULL, sumIf(conversion, steepest)) AS drop_conversion, max(advice) AS drop_advice
    FROM (@visitor_steps)
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

CREATE OR REPLACE VIEW daily_check COMMENT 'What to look at today
check: waiting_for_faces (photos of the range, 10 minutes old or more, that the face worker has not looked at), upload_failed or match_rate
reason: Reason of the failed uploads, else empty
value: Number of photos or uploads, or the rate' AS
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
SELECT 'match_rate', '', if(countIf(person != '') = 0, NULL, countIf(person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')}) / countIf(person != ''))
FROM (@persons);

-- A visit becomes a string that compares as (time, event_id, content hash, channel) does. One pass over the visitors.
CREATE OR REPLACE VIEW channels COMMENT 'Visits and visitors by channel: always seven rows
position: 1 to 7
channel: direct, email, whatsapp, website, social, other or unknown
visits: Visits in the range by this channel
visitors: Distinct visitors with such a visit; one with two channels counts at both
first_visitors: Visitors active in the range whose first visit ever came by this channel
last_visitors: Visitors active in the range whose last channel this is: the last but direct before the end of the range, else direct
downloaders: Those of last_visitors who downloaded in the range
conversion: downloaders / last_visitors' AS
SELECT listed.position AS position, listed.name AS channel, sum(tallied.visits) AS visits, sum(tallied.visitors) AS visitors,
    sum(tallied.first_visitors) AS first_visitors, sum(tallied.last_visitors) AS last_visitors, sum(tallied.downloaders) AS downloaders,
    if(last_visitors = 0, NULL, downloaders / last_visitors) AS conversion
FROM
(
    SELECT arrayJoin([(1, 'direct'), (2, 'email'), (3, 'whatsapp'), (4, 'website'), (5, 'social'), (6, 'other'), (7, 'unknown')]) AS row,
        toUInt8(row.1) AS position, row.2 AS name
) AS listed
LEFT JOIN
(
    SELECT pair.1 AS channel, sum(pair.2) AS visits, 0 AS visitors, 0 AS first_visitors, 0 AS last_visitors, 0 AS downloaders
    FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
    ARRAY JOIN CAST(counted.channels, 'Array(Tuple(String, UInt64))') AS pair
    WHERE type = 'gallery.visited'
    GROUP BY channel
    UNION ALL
    SELECT row.1 AS channel, 0, sumIf(alike, row.2 = 'used'), sumIf(alike, row.2 = 'first'), sumIf(alike, row.2 = 'last'), sumIf(alike, row.2 = 'last' AND downloaded)
    FROM
    (
        SELECT arraySort(used) AS ways, first, last, downloaded, count() AS alike
        FROM
        (
            SELECT visited.channels AS used, first_channel AS first, last_channel AS last, bitAnd(steps, 16) = 16 AS downloaded
            FROM
            (
                WITH
                    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
                    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi,
                    (t, id, hash, way) -> concat(reverse(reinterpretAsFixedString(toUnixTimestamp64Milli(t) + 0x4000000000000000)), id, reverse(reinterpretAsFixedString(hash)), way) AS as_text,
                    (visit -> substring(visit, 53)) AS channel_of
                SELECT gallery_id, visitor_id, groupBitOr(done) AS steps, groupUniqArrayArray(used) AS channels,
                    if(min(first) = char(255), 'unknown', channel_of(min(first))) AS first_channel,
                    multiIf(max(last) != '', channel_of(max(last)), max(visited), 'direct', 'unknown') AS last_channel
                FROM
                (
                    SELECT gallery_id, visitor_id,
                        if(bucket >= lo AND bucket < hi, visitor_buckets.steps, 0) AS done, if(bucket >= lo AND bucket < hi, visitor_buckets.channels, []) AS used,
                        if(first_visit.event_id = '', char(255), as_text(first_visit.time, first_visit.event_id, first_visit.content, first_visit.channel)) AS first,
                        if(last_nondirect.event_id = '' OR bucket >= hi, '', as_text(last_nondirect.time, last_nondirect.event_id, last_nondirect.content, last_nondirect.channel)) AS last,
                        bucket < hi AND bitAnd(visitor_buckets.steps, 1) = 1 AS visited
                    FROM visitor_buckets
                    WHERE gallery_id IN {galleries:Array(String)}
                    UNION ALL
                    SELECT gallery_id, visitor_id,
                        if(occurred_at >= {since:DateTime64(3, 'UTC')}, toUInt8(transform(toString(type),
                            ['gallery.visited', 'selfie.taken', 'match.found', 'photos.retrieved', 'photo.downloaded', 'photo.shared'],
                            [1, 2, 4, 8, 16, 32], 0)), 0),
                        if(type = 'gallery.visited' AND occurred_at >= {since:DateTime64(3, 'UTC')}, [toString(channel)], []),
                        char(255),
                        if(type = 'gallery.visited' AND channel != 'direct' AND occurred_at >= toDateTime64(hi, 3, 'UTC'), as_text(occurred_at, toString(event_id), content, toString(channel)), ''),
                        type = 'gallery.visited' AND occurred_at >= toDateTime64(hi, 3, 'UTC')
                    FROM events FINAL
                    WHERE gallery_id IN {galleries:Array(String)}
                      AND type IN ('gallery.visited', 'selfie.taken', 'match.found', 'photos.retrieved', 'photo.downloaded', 'photo.shared')
                      AND occurred_at < {until:DateTime64(3, 'UTC')}
                      AND (occurred_at >= toDateTime64(hi, 3, 'UTC') OR occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < toDateTime64(lo, 3, 'UTC'))
                )
                GROUP BY gallery_id, visitor_id
            ) AS visited
            WHERE steps != 0
        )
        GROUP BY ways, first, last, downloaded
    )
    ARRAY JOIN arrayConcat(arrayMap(way -> (way, 'used'), ways), [(first, 'first'), (last, 'last')]) AS row
    GROUP BY channel
) AS tallied ON listed.name = tallied.channel
GROUP BY position, channel
ORDER BY position;

DROP VIEW IF EXISTS visitor_channels;

CREATE OR REPLACE VIEW sponsor_results COMMENT 'Results of the sponsors that were seen or clicked in the range or are registered in the galleries
sponsor_id: Sponsor, the same across galleries
name: Name in the latest registration
impressions: Ads shown in the range
viewable: Those with half of the ad or more on the screen for a second or more
clicks: Ads clicked in the range
ctr: clicks / impressions
viewers: Distinct visitors with an impression, by gallery
fee: Fees of the galleries added up; NULL without a registration or with several currencies
currency: Currency of the fee
cost_per_click: fee / clicks
cost_per_1000_viewable: fee * 1000 / viewable' AS
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
        SELECT sponsor_id, sum(shown) AS impressions, sum(pressed) AS clicks, sum(seen) AS viewable
        FROM
        (
            SELECT row.1 AS sponsor_id, if(type = 'sponsor.impression', row.2, 0) AS shown, if(type = 'sponsor.clicked', row.2, 0) AS pressed, row.3 AS seen
            FROM metrics FINAL
            ARRAY JOIN arrayConcat(
                arrayMap((sponsor, n) -> (sponsor, n, toUInt64(0)), mapKeys(sponsors), mapValues(sponsors)),
                arrayMap((sponsor, n) -> (sponsor, toUInt64(0), n), mapKeys(viewable), mapValues(viewable))) AS row
            WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked') AND bucket >= lo AND bucket < hi
            UNION ALL
            SELECT sponsor_id, type = 'sponsor.impression', type = 'sponsor.clicked', type = 'sponsor.impression' AND visible_ratio >= 0.5 AND visible_ms >= 1000
            FROM events FINAL
            WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked')
              AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
              AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
        )
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
    shown.impressions AS impressions, shown.viewable AS viewable, shown.clicks AS clicks,
    if(impressions = 0, NULL, clicks / impressions) AS ctr,
    reached.viewers AS viewers,
    if(currencies = 1, total, NULL) AS fee,
    if(currencies = 1, toString(unit), '') AS currency,
    if(clicks = 0, NULL, toFloat64(fee) / clicks) AS cost_per_click,
    if(viewable = 0, NULL, toFloat64(fee) * 1000 / viewable) AS cost_per_1000_viewable
FROM (SELECT sponsor_id FROM shown UNION DISTINCT SELECT sponsor_id FROM contracts) AS named
LEFT JOIN contracts ON named.sponsor_id = contracts.sponsor_id
LEFT JOIN shown ON named.sponsor_id = shown.sponsor_id
LEFT JOIN reached ON named.sponsor_id = reached.sponsor_id
ORDER BY impressions DESC, sponsor_id;

-- Quarters of an hour that no campaign cuts come from the counts, the others from the facts.
CREATE OR REPLACE VIEW campaign_effects COMMENT 'Visits, downloads and shares in the `span` seconds before and after each campaign whose latest sending lies in the range
gallery_id: Gallery
campaign_id: Campaign
name: Its name
channel: Way it went out
sent_at: When it was sent last
recipients: Addressees
visits_before: Visits in the span before
visits_after: Visits in the span from the sending on
downloads_before: Photos downloaded in the span before
downloads_after: Photos downloaded in the span from the sending on
shares_before: Shares in the span before
shares_after: Shares in the span from the sending on' AS
WITH
    sent AS
    (
        SELECT gallery_id, campaign_id, last_sent.name AS label, last_sent.channel AS way, last_sent.time AS at, last_sent.recipients AS size,
            last_sent.time - toIntervalSecond({span:UInt32}) AS earliest, last_sent.time + toIntervalSecond({span:UInt32}) AS latest
        FROM (SELECT gallery_id, campaign_id, max(latest) AS last_sent FROM campaigns WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, campaign_id)
        WHERE last_sent.time >= {since:DateTime64(3, 'UTC')} AND last_sent.time < {until:DateTime64(3, 'UTC')}
    ),
    cut AS (SELECT gallery_id, toStartOfInterval(arrayJoin([earliest, at, latest]), INTERVAL 15 MINUTE) AS bucket FROM sent)
SELECT sent.gallery_id AS gallery_id, sent.campaign_id AS campaign_id, any(sent.label) AS name, any(sent.way) AS channel, any(sent.at) AS sent_at, any(sent.size) AS recipients,
    sumIf(facts.number, facts.type = 'gallery.visited' AND facts.at < sent.at AND facts.at >= sent.earliest) AS visits_before,
    sumIf(facts.number, facts.type = 'gallery.visited' AND facts.at >= sent.at AND facts.at < sent.latest) AS visits_after,
    sumIf(facts.number, facts.type = 'photo.downloaded' AND facts.at < sent.at AND facts.at >= sent.earliest) AS downloads_before,
    sumIf(facts.number, facts.type = 'photo.downloaded' AND facts.at >= sent.at AND facts.at < sent.latest) AS downloads_after,
    sumIf(facts.number, facts.type = 'photo.shared' AND facts.at < sent.at AND facts.at >= sent.earliest) AS shares_before,
    sumIf(facts.number, facts.type = 'photo.shared' AND facts.at >= sent.at AND facts.at < sent.latest) AS shares_after
FROM sent
LEFT JOIN
(
    SELECT gallery_id, type, toDateTime64(bucket, 3, 'UTC') AS at, if(type = 'photo.downloaded', amount, events) AS number
    FROM metrics FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
      AND toDateTime64(bucket, 3, 'UTC') >= {since:DateTime64(3, 'UTC')} - toIntervalSecond({span:UInt32}) AND toDateTime64(bucket, 3, 'UTC') < {until:DateTime64(3, 'UTC')} + toIntervalSecond({span:UInt32})
      AND (gallery_id, bucket) NOT IN (SELECT gallery_id, bucket FROM cut)
    UNION ALL
    SELECT gallery_id, type, occurred_at, if(type = 'photo.downloaded', photos, 1)
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
      AND occurred_at >= {since:DateTime64(3, 'UTC')} - toIntervalSecond({span:UInt32}) AND occurred_at < {until:DateTime64(3, 'UTC')} + toIntervalSecond({span:UInt32})
      AND (gallery_id, bucket) IN (SELECT gallery_id, bucket FROM cut)
) AS facts ON sent.gallery_id = facts.gallery_id
GROUP BY gallery_id, campaign_id
ORDER BY sent_at, gallery_id, campaign_id;

ALTER TABLE photos
    DROP COLUMN IF EXISTS first_upload, DROP COLUMN IF EXISTS last_highlight, DROP COLUMN IF EXISTS last_faces, DROP COLUMN IF EXISTS last_groups;
