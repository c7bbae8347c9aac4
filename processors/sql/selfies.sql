WITH toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS far, toDateTime64('1900-01-01 00:00:00', 3, 'UTC') AS past
SELECT
    gallery_id,
    selfie_id,
    min(if(type = 'selfie.taken',
        (occurred_at, toString(event_id), bitNot(content), visitor_id), (far, '', toUInt64(0), ''))),
    min(if(type = 'match.found',
        (occurred_at, toString(event_id), bitNot(content), group_id), (far, '', toUInt64(0), ''))),
    max(if(type = 'match.missed',
        (occurred_at, toString(event_id), content, toString(reason)), (past, '', toUInt64(0), '')))
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, selfie_id
