-- What alerts ask for: when a dead letter was written, which is long after its message where ingest stood still, and every
-- step of a gallery's funnel, of which an alert leaves out those that few visitors could have taken.

ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS inserted_at DateTime64(3, 'UTC') DEFAULT received_at COMMENT 'When it was written' AFTER received_at;

ALTER TABLE dead_letters MATERIALIZE COLUMN inserted_at SETTINGS mutations_sync = 1;

ALTER TABLE dead_letters MODIFY COLUMN inserted_at DEFAULT now64(3);

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

CREATE OR REPLACE VIEW visitor_funnel_by_gallery COMMENT 'The visitor funnel of each gallery with a visitor at its first step, as `visitor_funnel` has it for all of them together
gallery_id: Gallery
position: 1 to 6
name: visit, selfie, match, retrieval, download or share
visitors: Distinct visitors who got here
visitors_before: Visitors at the step before; 0 for the first
conversion: visitors / visitors_before' AS
SELECT gallery_id, row.1 AS position, row.2 AS name, row.3 AS visitors, row.4 AS visitors_before,
    if(visitors_before = 0, NULL, visitors / visitors_before) AS conversion
FROM
(
    SELECT gallery_id,
        countIf(bitAnd(steps, 1) = 1) AS n1, countIf(bitAnd(steps, 3) = 3) AS n2, countIf(bitAnd(steps, 7) = 7) AS n3,
        countIf(bitAnd(steps, 15) = 15) AS n4, countIf(bitAnd(steps, 31) = 31) AS n5, countIf(bitAnd(steps, 63) = 63) AS n6
    FROM (@visitors)
    GROUP BY gallery_id
    HAVING n1 > 0
)
ARRAY JOIN [(1, 'visit', n1, 0), (2, 'selfie', n2, n1), (3, 'match', n3, n2), (4, 'retrieval', n4, n3), (5, 'download', n5, n4), (6, 'share', n6, n5)] AS row
ORDER BY gallery_id, position;

DROP VIEW IF EXISTS steepest_drops;
