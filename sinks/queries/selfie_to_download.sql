-- How long does it take from a selfie to the first download?
--
-- One row. Counted from a visitor's first selfie ever, if it lies in the range, to their first download at or after
-- it and before the end of the range. Median and 90th percentile are interpolated, in seconds.
WITH
    selfies AS
    (
        SELECT gallery_id, visitor_id, min(occurred_at) AS taken_at
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type = 'selfie.taken' AND occurred_at < {until:DateTime64(3, 'UTC')}
        GROUP BY gallery_id, visitor_id
        HAVING taken_at >= {since:DateTime64(3, 'UTC')}
    ),
    downloads AS
    (
        SELECT gallery_id, visitor_id, groupArray(occurred_at) AS times
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.downloaded'
          AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
        GROUP BY gallery_id, visitor_id
    ),
    waits AS
    (
        SELECT arrayFilter(time -> time >= taken_at, times) AS later,
            if(empty(later), NULL, dateDiff('millisecond', taken_at, arrayMin(later)) / 1000) AS seconds
        FROM selfies LEFT JOIN downloads ON selfies.gallery_id = downloads.gallery_id AND selfies.visitor_id = downloads.visitor_id
    )
SELECT count() AS selfie_takers, count(seconds) AS downloaders,
    if(selfie_takers = 0, NULL, downloaders / selfie_takers) AS conversion,
    quantileExactInclusiveOrNull(0.5)(seconds) AS median_seconds,
    quantileExactInclusiveOrNull(0.9)(seconds) AS p90_seconds
FROM waits;
