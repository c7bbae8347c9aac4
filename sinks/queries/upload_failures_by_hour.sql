-- When do uploads fail?
--
-- One row per hour (of UTC) with an upload that arrived or failed. The rate is that of the failed among both.
SELECT toDateTime64(toStartOfHour(bucket), 3, 'UTC') AS hour, sumIf(events, type = 'photo.uploaded') AS arrived,
    sumIf(events, type = 'photo.upload_failed') AS failed, failed / (arrived + failed) AS failure_rate
FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
WHERE type IN ('photo.uploaded', 'photo.upload_failed')
GROUP BY hour
ORDER BY hour;
