-- People were counted by taking each photo apart into its people and grouping those, for views that only ask how many
-- there are. Here each gallery's photos are added up, with the set of their people, and only that set is taken apart.

-- piece roots: groups that were merged, and the group at the end of their merges
SELECT gallery_id, pair.1 AS group_id, pair.2 AS root
FROM merges FINAL
ARRAY JOIN CAST(roots, 'Array(Tuple(String, String))') AS pair
WHERE gallery_id IN {galleries:Array(String)}
-- end roots

-- piece counted: people in the photos of the range, merges resolved, without their photos; all photos stand at an empty person
SELECT members.gallery_id AS gallery_id, if(root = '', member, root) AS person, max(members.held) AS seen,
    sum(members.photos) AS photos, sum(members.community) AS community, sum(members.faces) AS faces, min(members.retrieved) AS retrieved_at
FROM
(
    SELECT gallery_id, arrayJoin(arrayConcat([''], people)) AS member, true AS held,
        if(member = '', photos_of_all, 0) AS photos, if(member = '', photos_of_community, 0) AS community, if(member = '', faces_of_all, 0) AS faces,
        toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS retrieved
    FROM
    (
        SELECT gallery_id, count() AS photos_of_all, countIf(substring(upload, 41, 10) = 'community ') AS photos_of_community,
            sum(reinterpretAsUInt32(substring(detection, 33))) AS faces_of_all, groupUniqArrayArray(splitByWhitespace(substring(grouping, 33))) AS people
        FROM photos FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
          AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000))
          AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({until:DateTime64(3, 'UTC')}) + 0x4000000000000000))
        GROUP BY gallery_id
    )
    UNION ALL
    SELECT gallery_id, group_id, false, 0, 0, 0, first_retrieved
    FROM groups
    WHERE gallery_id IN {galleries:Array(String)}
) AS members
LEFT JOIN (@roots) AS roots ON members.gallery_id = roots.gallery_id AND members.member = roots.group_id
GROUP BY gallery_id, person
HAVING seen
-- end counted

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
SELECT gallery_id, visitor_id, groupBitOr(steps) AS steps
FROM
(
    SELECT gallery_id, visitor_id, steps
    FROM visitor_buckets
    WHERE gallery_id IN {galleries:Array(String)} AND bucket >= lo AND bucket < hi
    UNION ALL
    SELECT gallery_id, visitor_id,
        toUInt8(transform(toString(type),
            ['gallery.visited', 'selfie.taken', 'match.found', 'photos.retrieved', 'photo.downloaded', 'photo.shared'],
            [1, 2, 4, 8, 16, 32], 0))
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)}
      AND type IN ('gallery.visited', 'selfie.taken', 'match.found', 'photos.retrieved', 'photo.downloaded', 'photo.shared')
      AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
      AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
)
GROUP BY gallery_id, visitor_id
-- end visitors

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
    SELECT if(people = 0, NULL, matched / people) AS match_rate, if(uploaded = 0, NULL, contributed) AS contributions
    FROM
    (
        SELECT countIf(person != '') AS people, countIf(person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')}) AS matched,
            sum(photos) AS uploaded, sum(community) AS contributed
        FROM (@counted)
    )
) AS cards
CROSS JOIN
(
    SELECT if(sum(photos) = 0, NULL, sum(shared) / sum(photos)) AS share_rate,
        if(sum(latest) + sum(previous) = 0, NULL, toFloat64(sum(latest)) - toFloat64(sum(previous))) AS growth
    FROM
    (
        SELECT if(type = 'photo.downloaded', amount, 0) AS photos, if(type = 'photo.shared', amount, 0) AS shared,
            if(zone = '', 'UTC', zone) AS clock,
            toDate(formatDateTime(bucket, '%F', clock)) AS day,
            toDate(formatDateTime({until:DateTime64(3, 'UTC')}, '%F', clock)) - 1 AS last_day,
            -- Nothing is compared unless the range holds both days.
            toDate(formatDateTime({since:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND, '%F', clock)) < last_day - 1 AS whole,
            if(whole AND day = last_day, photos, 0) AS latest, if(whole AND day = last_day - 1, photos, 0) AS previous
        FROM (@used) AS counted
        LEFT JOIN
        (
            SELECT gallery_id, max(latest).timezone AS zone
            FROM galleries
            WHERE gallery_id IN {galleries:Array(String)}
            GROUP BY gallery_id
        ) AS plan ON counted.gallery_id = plan.gallery_id
    )
) AS uses
CROSS JOIN
(
    -- Visitors who did each step and all before it; 2 stands where nobody did the step before.
    SELECT [n1, n2, n3, n4, n5, n6] AS reached,
        arrayMap((now, before) -> if(before = 0, 2, now / before), arrayPopFront(reached), arrayPopBack(reached)) AS conversions,
        arrayMin(conversions) AS least,
        if(least = 2, NULL, least) AS drop_conversion,
        if(least = 2, '', [
            'Few visitors take a selfie: put the selfie button first on the page and say what it is for.',
            'Many selfies find nobody: upload more photos, and ask for selfies in good light without sunglasses.',
            'People are found but do not open their photos: tell them at once, by message or e-mail.',
            'People look but do not download: offer all photos as one file, without a login.',
            'People download but do not share: show the share buttons after the download, with a ready text.'
        ][indexOf(conversions, least)]) AS drop_advice
    FROM
    (
        SELECT
            countIf(bitAnd(steps, 1) = 1) AS n1, countIf(bitAnd(steps, 3) = 3) AS n2, countIf(bitAnd(steps, 7) = 7) AS n3,
            countIf(bitAnd(steps, 15) = 15) AS n4, countIf(bitAnd(steps, 31) = 31) AS n5, countIf(bitAnd(steps, 63) = 63) AS n6
        FROM (@visitors)
    )
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
    SELECT sum(photos) AS uploaded, sum(faces) AS face_count, countIf(person != '') AS face_groups
    FROM (@counted)
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
    SELECT gallery_id, sum(photos) AS a, sum(community) AS b, countIf(person != '') AS c, countIf(person != '' AND retrieved_at < {until:DateTime64(3, 'UTC')}) AS d,
        toUInt64(0) AS e, toUInt64(0) AS f, toUInt64(0) AS g, toUInt64(0) AS h
    FROM (@counted)
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
    SELECT sum(now) AS uploaded, sum(then) AS previous_uploaded, sum(bytes_now) AS bytes, sum(bytes_then) AS previous_bytes,
        sum(highlights_now) AS highlighted, sum(highlights_then) AS previous_highlighted,
        sum(community_now) AS contributed, sum(community_then) AS previous_contributed,
        countIf(person != '' AND seen) AS face_groups, countIf(person != '' AND seen_then) AS previous_face_groups
    FROM
    (
        SELECT if(root = '', member, root) AS person, max(members.current) AS seen, max(NOT members.current) AS seen_then,
            sumIf(members.photos, members.current) AS now, sumIf(members.photos, NOT members.current) AS then,
            sumIf(members.bytes, members.current) AS bytes_now, sumIf(members.bytes, NOT members.current) AS bytes_then,
            sumIf(members.highlights, members.current) AS highlights_now, sumIf(members.highlights, NOT members.current) AS highlights_then,
            sumIf(members.community, members.current) AS community_now, sumIf(members.community, NOT members.current) AS community_then
        FROM
        (
            SELECT gallery_id, current, arrayJoin(arrayConcat([''], people)) AS member, if(member = '', photos_of_all, 0) AS photos,
                if(member = '', bytes_of_all, 0) AS bytes, if(member = '', highlights_of_all, 0) AS highlights, if(member = '', photos_of_community, 0) AS community
            FROM
            (
                SELECT gallery_id, upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000)) AS current,
                    count() AS photos_of_all, countIf(substring(upload, 41, 10) = 'community ') AS photos_of_community,
                    sum(reinterpretAsUInt64(substring(upload, 33, 8))) AS bytes_of_all, countIf(substring(highlight, 33) = '1') AS highlights_of_all,
                    groupUniqArrayArray(splitByWhitespace(substring(grouping, 33))) AS people
                FROM photos FINAL
                WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
                  AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({before:DateTime64(3, 'UTC')}) + 0x4000000000000000))
                  AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({until:DateTime64(3, 'UTC')}) + 0x4000000000000000))
                GROUP BY gallery_id, current
            )
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
