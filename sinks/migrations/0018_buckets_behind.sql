-- By galleries and quarters of what came since then, in facts and in metrics, not by each combination: a fourth of
-- the time with few of them, half with all. What is behind there without a fact since then is named, too.

CREATE OR REPLACE VIEW buckets_behind COMMENT 'Quarters of an hour in which `metrics` has not seen all facts, of the galleries and quarters with facts inserted since then
gallery_id: Gallery
type: Event type
bucket: Quarter of an hour
waiting_since: When ClickHouse took the first fact that was inserted since then; without one, then' AS
SELECT gallery_id, type, bucket, waiting_since
FROM
(
    SELECT gallery_id, type, bucket, sum(toUInt128(content) + 1) AS seen,
        if(max(inserted_at) < {since:DateTime64(3, 'UTC')}, {since:DateTime64(3, 'UTC')}, minIf(inserted_at, inserted_at >= {since:DateTime64(3, 'UTC')})) AS waiting_since
    FROM events FINAL
    WHERE gallery_id IN (SELECT DISTINCT gallery_id FROM events WHERE inserted_at >= {since:DateTime64(3, 'UTC')})
      AND bucket IN (SELECT DISTINCT bucket FROM events WHERE inserted_at >= {since:DateTime64(3, 'UTC')})
    GROUP BY gallery_id, type, bucket
) AS facts
LEFT JOIN
(
    SELECT gallery_id, type, bucket, version
    FROM metrics FINAL
    WHERE gallery_id IN (SELECT DISTINCT gallery_id FROM events WHERE inserted_at >= {since:DateTime64(3, 'UTC')})
      AND bucket IN (SELECT DISTINCT bucket FROM events WHERE inserted_at >= {since:DateTime64(3, 'UTC')})
) AS done USING (gallery_id, type, bucket)
WHERE done.version < facts.seen
ORDER BY waiting_since, gallery_id, type, bucket;
