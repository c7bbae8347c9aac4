-- In which quarters of an hour do visitors do most?
--
-- `quarter` is the instant it begins, `local_time` the same on the gallery's clock. `actions` is the number of visits,
-- selfies, retrievals, downloads and shares; `photos_downloaded` counts every photo of a zip.
SELECT counted.gallery_id AS gallery_id, toDateTime64(bucket, 3, 'UTC') AS quarter,
    formatDateTime(bucket, '%F %R', if(any(timezone) = '', 'UTC', any(timezone))) AS local_time,
    sum(events) AS actions,
    sumIf(events, type = 'gallery.visited') AS visits, sumIf(events, type = 'selfie.taken') AS selfies,
    sumIf(events, type = 'photos.retrieved') AS retrievals, sumIf(events, type = 'photo.downloaded') AS downloads,
    sumIf(events, type = 'photo.shared') AS shares, sumIf(amount, type = 'photo.downloaded') AS photos_downloaded
FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS counted
LEFT JOIN schedules ON counted.gallery_id = schedules.gallery_id
WHERE type IN ('gallery.visited', 'selfie.taken', 'photos.retrieved', 'photo.downloaded', 'photo.shared')
GROUP BY gallery_id, bucket
ORDER BY actions DESC, quarter, gallery_id
LIMIT {limit:UInt32};
