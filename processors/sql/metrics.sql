-- The names matter: the rows travel through the client and are inserted by name.
WITH toUInt64(1) AS one
SELECT
    gallery_id,
    bucket,
    type,
    sum(toUInt128(content) + 1) AS version,
    count() AS events,
    sum(multiIf(type IN ('photo.downloaded', 'photos.retrieved'), toUInt64(photos),
        type = 'photo.uploaded', bytes, type = 'faces.detected', toUInt64(faces), one)) AS amount,
    sumMapIf(map(channel, one), channel != '') AS channels,
    sumMapIf(map(network, one), network != '') AS networks,
    sumMapIf(map(sponsor_id, one), sponsor_id != '') AS sponsors,
    sumMapIf(map(sponsor_id, one), type = 'sponsor.impression' AND visible_ratio >= 0.5 AND visible_ms >= 1000) AS viewable,
    sumMapIf(map(concat(sponsor_id, ' ', ad_id), one), ad_id != '') AS ads,
    sumMapIf(map(campaign_id, one), campaign_id != '') AS campaigns,
    sumMapIf(map(reason, one), reason != '') AS reasons
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, bucket, type
