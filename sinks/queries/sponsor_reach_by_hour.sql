-- When does each sponsor reach people, and when somebody new?
--
-- One row per sponsor and hour (of UTC) with an impression. `viewers` are the distinct visitors of the hour,
-- `new_viewers` those who see the sponsor for the first time in the range, `reach` is their sum so far.
WITH
    seen AS
    (
        SELECT sponsor_id, toDateTime64(toStartOfHour(occurred_at), 3, 'UTC') AS hour, gallery_id, visitor_id, count() AS impressions
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type = 'sponsor.impression'
          AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
        GROUP BY sponsor_id, hour, gallery_id, visitor_id
    ),
    ranked AS
    (
        SELECT sponsor_id, hour, impressions, hour = min(hour) OVER (PARTITION BY sponsor_id, gallery_id, visitor_id) AS new
        FROM seen
    )
SELECT hours.sponsor_id AS sponsor_id, sponsors.label AS name, hour, impressions, viewers, new_viewers,
    sum(new_viewers) OVER (PARTITION BY sponsor_id ORDER BY hour) AS reach
FROM
(
    SELECT sponsor_id, hour, sum(ranked.impressions) AS impressions, count() AS viewers, countIf(new) AS new_viewers
    FROM ranked
    GROUP BY sponsor_id, hour
) AS hours
LEFT JOIN
(
    SELECT sponsor_id, max(latest).name AS label
    FROM sponsors
    WHERE gallery_id IN {galleries:Array(String)}
    GROUP BY sponsor_id
) AS sponsors ON hours.sponsor_id = sponsors.sponsor_id
ORDER BY sponsor_id, hour;
