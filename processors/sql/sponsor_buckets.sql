SELECT
    gallery_id,
    bucket,
    sponsor_id,
    visitor_id,
    groupBitOr(toUInt8(multiIf(type = 'sponsor.clicked', 4, visible_ratio >= 0.5 AND visible_ms >= 1000, 3, 1)))
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, bucket, sponsor_id, visitor_id
