WITH toUInt64(1) AS one
SELECT
    gallery_id,
    bucket,
    type,
    sum(toUInt128(content) + 1),
    count(),
    sum(multiIf(type IN ('photo.downloaded', 'photos.retrieved'), toUInt64(photos),
        type = 'photo.uploaded', bytes, type = 'faces.detected', toUInt64(faces), one)),
    sumMapIf(map(channel, one), channel != ''),
    sumMapIf(map(network, one), network != ''),
    sumMapIf(map(sponsor_id, one), sponsor_id != ''),
    sumMapIf(map(sponsor_id, one), type = 'sponsor.impression' AND visible_ratio >= 0.5 AND visible_ms >= 1000),
    sumMapIf(map(concat(sponsor_id, ' ', ad_id), one), ad_id != ''),
    sumMapIf(map(campaign_id, one), campaign_id != ''),
    sumMapIf(map(reason, one), reason != '')
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, bucket, type
