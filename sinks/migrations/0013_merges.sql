-- Merges of groups were followed anew by every query that counts people, and to analyse that SQL took longer than to
-- run it. Now the processors follow them whenever a group is merged, and queries read one row per gallery.

CREATE TABLE merges
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    version UInt128 COMMENT 'Sum over its group.merged facts of the content hash + 1: the row that has seen most wins',
    roots Map(String, String) COMMENT 'Group that was merged → the group at the end of its merges (16 links at most)'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY gallery_id
COMMENT 'One row per gallery with merged groups';

INSERT INTO merges
WITH RECURSIVE
    latest AS
    (
        SELECT gallery_id, group_id, argMax(into, (occurred_at, toString(event_id))) AS next
        FROM events FINAL
        WHERE type = 'group.merged'
        GROUP BY gallery_id, group_id
        HAVING next != group_id
    ),
    walk AS
    (
        SELECT gallery_id, group_id, next AS root, 1 AS links
        FROM latest
        UNION ALL
        SELECT walk.gallery_id, walk.group_id, latest.next, walk.links + 1
        FROM walk
        INNER JOIN latest ON walk.gallery_id = latest.gallery_id AND walk.root = latest.group_id
        WHERE walk.links < 16
    )
SELECT seen.gallery_id AS gallery_id, seen.version AS version, ends.roots AS roots
FROM
(
    SELECT gallery_id, sum(toUInt128(content) + 1) AS version
    FROM events FINAL
    WHERE type = 'group.merged'
    GROUP BY gallery_id
) AS seen
LEFT JOIN
(
    SELECT gallery_id, arraySort(groupArray((group_id, root)))::Map(String, String) AS roots
    FROM (SELECT gallery_id, group_id, argMax(root, links) AS root FROM walk GROUP BY gallery_id, group_id)
    GROUP BY gallery_id
) AS ends ON seen.gallery_id = ends.gallery_id;

-- piece roots: groups that were merged, and the group at the end of their merges
SELECT gallery_id, pair.1 AS group_id, pair.2 AS root
FROM merges FINAL
ARRAY JOIN CAST(roots, 'Array(Tuple(String, String))') AS pair
WHERE gallery_id IN {galleries:Array(String)}
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
        groupArrayIf(photo_id, member IN (SELECT arrayJoin(arrayConcat(mapKeys(roots), mapValues(roots))) FROM merges FINAL WHERE gallery_id IN {galleries:Array(String)})) AS holding,
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

-- A view that asks another view with parameters is analysed once more: these ask tables, too.

-- piece visits: visits of the range by channel
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, key, n
FROM metrics FINAL
ARRAY JOIN mapKeys(channels) AS key, mapValues(channels) AS n
WHERE gallery_id IN {galleries:Array(String)} AND type = 'gallery.visited' AND bucket >= lo AND bucket < hi
UNION ALL
SELECT gallery_id, toString(channel), 1
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type = 'gallery.visited'
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
  AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
-- end visits

-- piece shared: shares of the range by network
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, key, n
FROM metrics FINAL
ARRAY JOIN mapKeys(networks) AS key, mapValues(networks) AS n
WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.shared' AND bucket >= lo AND bucket < hi
UNION ALL
SELECT gallery_id, toString(network), 1
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.shared'
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
  AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
-- end shared

-- piece missed: selfies of the range that found nobody, by reason
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, key, n
FROM metrics FINAL
ARRAY JOIN mapKeys(reasons) AS key, mapValues(reasons) AS n
WHERE gallery_id IN {galleries:Array(String)} AND type = 'match.missed' AND bucket >= lo AND bucket < hi
UNION ALL
SELECT gallery_id, toString(reason), 1
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type = 'match.missed'
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
  AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
-- end missed

-- piece failed: uploads of the range that did not work, by reason
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, key, n
FROM metrics FINAL
ARRAY JOIN mapKeys(reasons) AS key, mapValues(reasons) AS n
WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.upload_failed' AND bucket >= lo AND bucket < hi
UNION ALL
SELECT gallery_id, toString(reason), 1
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.upload_failed'
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
  AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
-- end failed

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
    SELECT key AS channel, sum(n) AS visits, 0 AS visitors, 0 AS first_visitors, 0 AS last_visitors, 0 AS downloaders
    FROM (@visits)
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

CREATE OR REPLACE VIEW shares_by_network COMMENT 'Shares by social network
network: Social network
shares: Photos shared in the range, more than none' AS
SELECT key AS network, sum(n) AS shares
FROM (@shared)
GROUP BY network
HAVING shares > 0
ORDER BY shares DESC, network;

CREATE OR REPLACE VIEW failed_selfies COMMENT 'Selfies that found nobody, by reason
reason: no_face, many_faces, low_quality, ambiguous or no_match
selfies: Failed attempts in the range, more than none' AS
SELECT key AS reason, sum(n) AS selfies
FROM (@missed)
GROUP BY reason
HAVING selfies > 0
ORDER BY selfies DESC, reason;

CREATE OR REPLACE VIEW daily_check COMMENT 'What to look at today
check: waiting_for_faces (photos of the range, 10 minutes old or more, that the face worker has not looked at), upload_failed or match_rate
reason: Reason of the failed uploads, else empty
value: Number of photos or uploads, or the rate' AS
SELECT 'waiting_for_faces' AS check, '' AS reason, toNullable(toFloat64(count())) AS value
FROM photos FINAL
WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted AND NOT processed
  AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000))
  AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli(least({until:DateTime64(3, 'UTC')}, now64(3, 'UTC') - INTERVAL 10 MINUTE, {until:DateTime64(3, 'UTC')} - INTERVAL 10 MINUTE)) + 0x4000000000000000))
UNION ALL
SELECT 'upload_failed', key, toFloat64(sum(n))
FROM (@failed)
GROUP BY key
HAVING sum(n) > 0
UNION ALL
SELECT 'match_rate', '', if(countIf(person != '') = 0, NULL, countIf(person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')}) / countIf(person != ''))
FROM (@persons);

CREATE OR REPLACE VIEW recent_contributions COMMENT 'Community photos of the range by visitor, latest first
gallery_id: Gallery
visitor_id: Pseudonym of the visitor, empty where unknown
name: Their name, where it may be shown
time: Their latest upload
photos: Their photos' AS
SELECT uploads.gallery_id AS gallery_id, uploads.visitor AS visitor_id, names.name AS name, uploads.latest AS time, uploads.number AS photos
FROM
(
    SELECT gallery_id, substring(upload, 51) AS visitor, count() AS number,
        fromUnixTimestamp64Milli(reinterpretAsInt64(reverse(substring(max(upload), 1, 8))) - 0x4000000000000000, 'UTC') AS latest
    FROM photos FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
      AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000))
      AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({until:DateTime64(3, 'UTC')}) + 0x4000000000000000))
      AND substring(upload, 41, 10) = 'community '
    GROUP BY gallery_id, visitor
) AS uploads
LEFT JOIN
(
    SELECT gallery_id, visitor_id, max(latest) AS registered, registered.name AS name
    FROM attendees
    WHERE gallery_id IN {galleries:Array(String)}
    GROUP BY gallery_id, visitor_id
    HAVING registered.consent
) AS names ON uploads.gallery_id = names.gallery_id AND uploads.visitor = names.visitor_id
ORDER BY time DESC, gallery_id, visitor_id;

CREATE OR REPLACE VIEW downloads_by_time COMMENT 'Downloads per quarter of an hour, hour or day of the gallery''s own zone: step is quarter, hour or day
gallery_id: Gallery
time: Instant at which the quarter, hour or day begins
downloads: Photos downloaded, more than none' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi,
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
        SELECT gallery_id, bucket, amount, if(plan.timezone = '', 'UTC', plan.timezone) AS zone
        FROM
        (
            SELECT gallery_id, bucket, amount
            FROM metrics FINAL
            WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.downloaded' AND bucket >= lo AND bucket < hi
            UNION ALL
            SELECT gallery_id, bucket, photos
            FROM events FINAL
            WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.downloaded'
              AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
              AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
        ) AS counted
        LEFT JOIN (SELECT gallery_id, max(latest).timezone AS timezone FROM galleries WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id) AS plan ON counted.gallery_id = plan.gallery_id
    )
)
GROUP BY gallery_id, time
HAVING downloads > 0
ORDER BY gallery_id, time;

-- piece activity: what happened in each gallery at any time, as the view `activity`
SELECT plan.gallery_id AS gallery_id, gallery, starts_at, zone, at, photos, contributed, visits, downloads, shares
FROM
(
    SELECT gallery_id, max(latest).name AS gallery, max(latest).starts_at AS starts_at, max(latest).timezone AS zone, toUnixTimestamp64Milli(starts_at) % 900000 = 0 AS on_quarter
    FROM galleries
    WHERE gallery_id IN {galleries:Array(String)}
    GROUP BY gallery_id
) AS plan
INNER JOIN
(
    SELECT gallery_id, 2 AS cut, fromUnixTimestamp64Milli(reinterpretAsInt64(reverse(substring(upload, 1, 8))) - 0x4000000000000000, 'UTC') AS at,
        toUInt64(1) AS photos, toUInt64(substring(upload, 41, 10) = 'community ') AS contributed, toUInt64(0) AS visits, toUInt64(0) AS downloads, toUInt64(0) AS shares
    FROM photos FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted AND upload != char(255)
    UNION ALL
    SELECT gallery_id, 1, toDateTime64(bucket, 3, 'UTC'), 0, 0, if(type = 'gallery.visited', events, 0), if(type = 'photo.downloaded', amount, 0), if(type = 'photo.shared', events, 0)
    FROM metrics FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
    UNION ALL
    SELECT gallery_id, 0, occurred_at, 0, 0, type = 'gallery.visited', if(type = 'photo.downloaded', toUInt64(photos), 0), type = 'photo.shared'
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
      AND gallery_id IN (SELECT gallery_id FROM galleries GROUP BY gallery_id HAVING toUnixTimestamp64Milli(max(latest).starts_at) % 900000 != 0)
) AS happened ON plan.gallery_id = happened.gallery_id
WHERE cut = 2 OR cut = on_quarter
-- end activity

CREATE OR REPLACE VIEW activity COMMENT 'What happened in each gallery, at any time: photos, visits, downloads and shares with the quarter of an hour, or the instant where the event does not start on one
gallery_id: Gallery
gallery: Name of the gallery
starts_at: Start of its event
zone: IANA time zone of the gallery
at: When it happened
photos: Photos uploaded, without deleted ones
contributed: Those that the community uploaded
visits: Visits
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks' AS
@activity;

CREATE OR REPLACE VIEW activity_by_hour COMMENT 'Photos, visits, downloads and shares of each event by hours since its start (negative before it)
gallery_id: Gallery
gallery: Name of the gallery
hour: Whole hours since the start: 0 is the first hour
photos: Photos uploaded, without deleted ones
contributed: Those that the community uploaded
visits: Visits
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks' AS
SELECT gallery_id, gallery, toInt32(intDiv(toUnixTimestamp64Milli(at) - toUnixTimestamp64Milli(starts_at) + 3600000 * 1000000, 3600000) - 1000000) AS hour,
    sum(photos) AS photos, sum(contributed) AS contributed, sum(visits) AS visits, sum(downloads) AS downloads, sum(shares) AS shares
FROM (@activity)
GROUP BY gallery_id, gallery, hour
ORDER BY gallery_id, hour;

CREATE OR REPLACE VIEW activity_by_day COMMENT 'Photos, visits, downloads and shares of each event by day in its own zone; day 1 is the day it starts
gallery_id: Gallery
gallery: Name of the gallery
day: 1 on the day the event starts, 0 and less before
photos: Photos uploaded, without deleted ones
contributed: Those that the community uploaded
visits: Visits
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks' AS
SELECT gallery_id, gallery, toInt32(toDate(formatDateTime(at, '%F', zone)) - toDate(formatDateTime(starts_at, '%F', zone)) + 1) AS day,
    sum(photos) AS photos, sum(contributed) AS contributed, sum(visits) AS visits, sum(downloads) AS downloads, sum(shares) AS shares
FROM (@activity)
GROUP BY gallery_id, gallery, day
ORDER BY gallery_id, day;

-- piece sponsored: what the range holds of each sponsor, by gallery and quarter; needs lo and hi
SELECT gallery_id, bucket, row.1 AS sponsor_id, if(type = 'sponsor.impression', row.2, 0) AS shown, row.3 AS seen, if(type = 'sponsor.clicked', row.2, 0) AS pressed
FROM metrics FINAL
ARRAY JOIN arrayConcat(
    arrayMap((sponsor, n) -> (sponsor, n, toUInt64(0)), mapKeys(sponsors), mapValues(sponsors)),
    arrayMap((sponsor, n) -> (sponsor, toUInt64(0), n), mapKeys(viewable), mapValues(viewable))) AS row
WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked') AND bucket >= lo AND bucket < hi
UNION ALL
SELECT gallery_id, bucket, sponsor_id, type = 'sponsor.impression', type = 'sponsor.impression' AND visible_ratio >= 0.5 AND visible_ms >= 1000, type = 'sponsor.clicked'
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked')
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
  AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
-- end sponsored

CREATE OR REPLACE VIEW sponsor_by_gallery COMMENT 'Impressions, viewable impressions, clicks and CTR of each sponsor in each gallery
gallery_id: Gallery
sponsor_id: Sponsor
impressions: Ads shown
viewable: Those of which half or more was on the screen for a second or longer
clicks: Clicks
ctr: clicks / impressions' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT gallery_id, sponsor_id, sum(shown) AS impressions, sum(seen) AS viewable, sum(pressed) AS clicks,
    if(impressions = 0, NULL, clicks / impressions) AS ctr
FROM (@sponsored)
GROUP BY gallery_id, sponsor_id
ORDER BY gallery_id, sponsor_id;

CREATE OR REPLACE VIEW sponsor_by_day COMMENT 'Impressions, viewable impressions and clicks of each sponsor by day of the gallery''s own zone
gallery_id: Gallery
sponsor_id: Sponsor
day: Local day
impressions: Ads shown in the range
viewable: Those with half of the ad or more on the screen for a second or more
clicks: Ads clicked in the range' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT counted.gallery_id AS gallery_id, sponsor_id, toDate(formatDateTime(bucket, '%F', if(plan.timezone = '', 'UTC', plan.timezone))) AS day,
    sum(shown) AS impressions, sum(seen) AS viewable, sum(pressed) AS clicks
FROM (@sponsored) AS counted
LEFT JOIN (SELECT gallery_id, max(latest).timezone AS timezone FROM galleries WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id) AS plan ON counted.gallery_id = plan.gallery_id
GROUP BY gallery_id, sponsor_id, day
HAVING impressions + viewable + clicks > 0
ORDER BY gallery_id, sponsor_id, day;

CREATE OR REPLACE VIEW sponsor_ads COMMENT 'Ads of the sponsors
sponsor_id: Sponsor
ad_id: Ad
impressions: Times shown in the range
clicks: Times clicked in the range
ctr: clicks / impressions' AS
WITH
    toStartOfInterval({since:DateTime64(3, 'UTC')} + INTERVAL 899999 MILLISECOND, INTERVAL 15 MINUTE) AS lo,
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT splitByChar(' ', key)[1] AS sponsor_id, splitByChar(' ', key)[2] AS ad_id,
    sumIf(n, type = 'sponsor.impression') AS impressions, sumIf(n, type = 'sponsor.clicked') AS clicks,
    if(impressions = 0, NULL, clicks / impressions) AS ctr
FROM
(
    SELECT type, key, n
    FROM metrics FINAL
    ARRAY JOIN mapKeys(ads) AS key, mapValues(ads) AS n
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked') AND bucket >= lo AND bucket < hi
    UNION ALL
    SELECT type, concat(sponsor_id, ' ', ad_id), 1
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked')
      AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
      AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC')) AND ad_id != ''
)
GROUP BY sponsor_id, ad_id
ORDER BY sponsor_id, ad_id;
