-- Of the visitors who came first on a day, how many came again 1, 2 and 7 days later?
--
-- One row per day of the galleries' own zones. A visitor belongs to the day of their first visit ever, if it lies in
-- the range; "again" is another visit on exactly that later day. A figure is NULL while its day is not over at the end
-- of the range.
WITH
    visits AS
    (
        SELECT gallery_id, visitor_id, toDate(formatDateTime(occurred_at, '%F', zone)) AS day, occurred_at,
            toDate(formatDateTime({until:DateTime64(3, 'UTC')}, '%F', zone)) AS today
        FROM
        (
            SELECT gallery_id, visitor_id, occurred_at, if(timezone = '', 'UTC', timezone) AS zone
            FROM (SELECT gallery_id, visitor_id, occurred_at FROM events FINAL
                  WHERE gallery_id IN {galleries:Array(String)} AND type = 'gallery.visited'
                    AND occurred_at < {until:DateTime64(3, 'UTC')}) AS visited
            LEFT JOIN schedules ON visited.gallery_id = schedules.gallery_id
        )
    ),
    visitors AS
    (
        SELECT min(occurred_at) AS came_at, min(day) AS first_day, groupUniqArray(day) AS days, any(today) AS today
        FROM visits
        GROUP BY gallery_id, visitor_id
        HAVING came_at >= {since:DateTime64(3, 'UTC')}
    )
SELECT first_day, count() AS day_0,
    if(first_day + 1 < min(today), countIf(has(days, first_day + 1)), NULL) AS day_1,
    if(first_day + 2 < min(today), countIf(has(days, first_day + 2)), NULL) AS day_2,
    if(first_day + 7 < min(today), countIf(has(days, first_day + 7)), NULL) AS day_7,
    day_1 / day_0 AS retention_1, day_2 / day_0 AS retention_2, day_7 / day_0 AS retention_7
FROM visitors
GROUP BY first_day
ORDER BY first_day;
