-- Half of a dashboard query's time is its analysis, which grows with what each alias stands for, again wherever it is
-- used, and most with tuples. So these views say things once, read nothing twice, and leave out what they do not need.

-- piece roots: groups that were merged, and the group at the end of their merges
SELECT gallery_id, pair.1 AS group_id, pair.2 AS root
FROM merges FINAL
ARRAY JOIN CAST(roots, 'Array(Tuple(String, String))') AS pair
WHERE gallery_id IN {galleries:Array(String)}
-- end roots

-- piece counted: people in the photos of the range, merges resolved, without their photos; all photos stand at an empty person
SELECT members.gallery_id AS gallery_id, if(root = '', member, root) AS person, max(members.held) AS seen,
    sum(members.photos) AS photos, sum(members.community) AS community, min(members.retrieved) AS retrieved_at
FROM
(
    SELECT gallery_id, arrayJoin(arrayConcat([''], people)) AS member, true AS held,
        if(member = '', photos_of_all, 0) AS photos, if(member = '', photos_of_community, 0) AS community,
        toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS retrieved
    FROM
    (
        SELECT gallery_id, count() AS photos_of_all, countIf(substring(upload, 41, 10) = 'community ') AS photos_of_community,
            groupUniqArrayArray(splitByWhitespace(substring(grouping, 33))) AS people
        FROM photos FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND NOT deleted
          AND upload >= reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({since:DateTime64(3, 'UTC')}) + 0x4000000000000000))
          AND upload < reverse(reinterpretAsFixedString(toUnixTimestamp64Milli({until:DateTime64(3, 'UTC')}) + 0x4000000000000000))
        GROUP BY gallery_id
    )
    UNION ALL
    SELECT gallery_id, group_id, false, 0, 0, first_retrieved
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
SELECT position,
    ['match_rate', 'downloads_growth', 'share_rate', 'contributed', 'steepest_drop'][position] AS metric,
    [match_rate, growth, share_rate, toFloat64(contributions), drop_conversion][position] AS value,
    [0.5, 0, 0.1, 100, NULL][position] AS target,
    multiIf(value IS NULL, 'no data', target IS NULL OR value > target, 'ok', 'low') AS status,
    multiIf(position = 5, drop_advice, status = 'low', [
        'Fewer than half of the people found in photos have opened theirs: announce the gallery on stage and by message, and put the QR code where people queue.',
        'Downloads fell against the day before: send a reminder with the highlights, in the morning after the event.',
        'Fewer than one download in ten is shared: put share buttons beside the download and suggest a hashtag.',
        'Few photos come from attendees: ask for them on site, and offer a prize for the best one.'
    ][position], '') AS advice
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
ARRAY JOIN [toUInt8(1), 2, 3, 4, 5] AS position
ORDER BY position;

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
    toStartOfInterval({until:DateTime64(3, 'UTC')}, INTERVAL 15 MINUTE) AS hi
SELECT sponsor_id, max(label) AS name,
    sum(shown) AS impressions, sum(seen) AS viewable, sum(pressed) AS clicks,
    if(impressions = 0, NULL, clicks / impressions) AS ctr,
    sum(people) AS viewers,
    if(sum(currencies) = 1, sum(total)::Decimal(18, 2), NULL) AS fee,
    if(sum(currencies) = 1, max(unit), '') AS currency,
    if(clicks = 0, NULL, toFloat64(fee) / clicks) AS cost_per_click,
    if(viewable = 0, NULL, toFloat64(fee) * 1000 / viewable) AS cost_per_1000_viewable
FROM
(
    SELECT sponsor_id, true AS listed, argMax(latest.name, (latest.time, latest.event_id)) AS label,
        sum(latest.fee) AS total, uniqExact(latest.currency) AS currencies, any(toString(latest.currency)) AS unit,
        0 AS shown, 0 AS pressed, 0 AS seen, 0 AS people
    FROM (SELECT gallery_id, sponsor_id, max(latest) AS latest FROM sponsors WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, sponsor_id)
    GROUP BY sponsor_id
    UNION ALL
    SELECT sponsor, true, '', 0, 0, '', if(type = 'sponsor.impression', n, 0), if(type = 'sponsor.clicked', n, 0), viewable[sponsor], 0
    FROM metrics FINAL
    ARRAY JOIN mapKeys(sponsors) AS sponsor, mapValues(sponsors) AS n
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked') AND bucket >= lo AND bucket < hi
    UNION ALL
    SELECT sponsor_id, true, '', 0, 0, '', type = 'sponsor.impression', type = 'sponsor.clicked', type = 'sponsor.impression' AND visible_ratio >= 0.5 AND visible_ms >= 1000, 0
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked')
      AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
      AND (occurred_at < toDateTime64(lo, 3, 'UTC') OR occurred_at >= toDateTime64(hi, 3, 'UTC'))
    UNION ALL
    SELECT sponsor_id, false, '', 0, 0, '', 0, 0, 0, uniqExact(gallery_id, visitor_id)
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
GROUP BY sponsor_id
HAVING max(listed)
ORDER BY impressions DESC, sponsor_id;

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
        SELECT gallery_id, campaign_id, last_sent.name AS label, last_sent.channel AS way, last_sent.time AS moment, last_sent.recipients AS size
        FROM (SELECT gallery_id, campaign_id, max(latest) AS last_sent FROM campaigns WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, campaign_id)
        WHERE moment >= {since:DateTime64(3, 'UTC')} AND moment < {until:DateTime64(3, 'UTC')}
    )
SELECT gallery_id, campaign_id, any(label) AS name, any(way) AS channel, any(moment) AS sent_at, any(size) AS recipients,
    sumIf(number, place = 1) AS visits_before, sumIf(number, place = 2) AS visits_after,
    sumIf(number, place = 3) AS downloads_before, sumIf(number, place = 4) AS downloads_after,
    sumIf(number, place = 5) AS shares_before, sumIf(number, place = 6) AS shares_after
FROM
(
    -- Quarters that the sending, or an end of its span, cuts in two come fact by fact, the others as counts.
    SELECT gallery_id, campaign_id, label, way, moment, size, number,
        if(at >= moment - toIntervalSecond({span:UInt32}) AND at < moment + toIntervalSecond({span:UInt32})
                AND single = has(
                    [toStartOfInterval(moment - toIntervalSecond({span:UInt32}), INTERVAL 15 MINUTE), toStartOfInterval(moment, INTERVAL 15 MINUTE), toStartOfInterval(moment + toIntervalSecond({span:UInt32}), INTERVAL 15 MINUTE)],
                    bucket),
            transform(toString(type), ['gallery.visited', 'photo.downloaded', 'photo.shared'], [1, 3, 5], 0) + (at >= moment), 0) AS place
    FROM sent
    LEFT JOIN
    (
        SELECT gallery_id, type, bucket, false AS single, toDateTime64(bucket, 3, 'UTC') AS at, if(type = 'photo.downloaded', amount, events) AS number
        FROM metrics FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
          AND at >= {since:DateTime64(3, 'UTC')} - toIntervalSecond({span:UInt32}) AND at < {until:DateTime64(3, 'UTC')} + toIntervalSecond({span:UInt32})
        UNION ALL
        SELECT gallery_id, type, bucket, true, occurred_at, if(type = 'photo.downloaded', photos, 1)
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type IN ('gallery.visited', 'photo.downloaded', 'photo.shared')
          AND occurred_at >= {since:DateTime64(3, 'UTC')} - toIntervalSecond({span:UInt32}) AND occurred_at < {until:DateTime64(3, 'UTC')} + toIntervalSecond({span:UInt32})
          AND (gallery_id, bucket) IN
          (
              SELECT gallery_id, toStartOfInterval(arrayJoin([moment - toIntervalSecond({span:UInt32}), moment, moment + toIntervalSecond({span:UInt32})]), INTERVAL 15 MINUTE)
              FROM sent
          )
    ) AS facts USING (gallery_id)
)
GROUP BY gallery_id, campaign_id
ORDER BY sent_at, gallery_id, campaign_id;

-- Quarters are compared over all their types first, with a quarter of the groups; the few that differ, type by
-- type. They would agree by accident once in 2^64 times, and only if one type is behind and another has lost facts.
CREATE OR REPLACE VIEW buckets_behind COMMENT 'Quarters of an hour in which `metrics` has not seen all facts, of the galleries and quarters with facts inserted since then
gallery_id: Gallery
type: Event type
bucket: Quarter of an hour
waiting_since: When ClickHouse took the first fact that was inserted since then; without one, then' AS
SELECT gallery_id, type, bucket,
    if(max(inserted_at) < {since:DateTime64(3, 'UTC')}, {since:DateTime64(3, 'UTC')}, minIf(inserted_at, inserted_at >= {since:DateTime64(3, 'UTC')})) AS waiting_since
FROM
(
    SELECT gallery_id, type, bucket, toInt128(content) + 1 AS unseen, inserted_at FROM events FINAL
    UNION ALL
    SELECT gallery_id, type, bucket, -toInt128(version), toDateTime64(0, 3, 'UTC') FROM metrics FINAL
)
WHERE (gallery_id, bucket) IN
(
    SELECT gallery_id, bucket
    FROM
    (
        SELECT gallery_id, bucket, toInt128(content) + 1 AS unseen FROM events FINAL
        UNION ALL
        SELECT gallery_id, bucket, -toInt128(version) FROM metrics FINAL
    )
    WHERE gallery_id IN (SELECT DISTINCT gallery_id FROM events WHERE inserted_at >= {since:DateTime64(3, 'UTC')})
      AND bucket IN (SELECT DISTINCT bucket FROM events WHERE inserted_at >= {since:DateTime64(3, 'UTC')})
    GROUP BY gallery_id, bucket
    HAVING sum(unseen) != 0
)
GROUP BY gallery_id, type, bucket
HAVING sum(unseen) > 0
ORDER BY waiting_since, gallery_id, type, bucket;
