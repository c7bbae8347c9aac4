WITH toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS far, toDateTime64('1900-01-01 00:00:00', 3, 'UTC') AS past
SELECT
    gallery_id,
    group_id,
    min(if(type = 'group.created', occurred_at, far)),
    min(if(type = 'photos.retrieved', occurred_at, far)),
    min(if(type = 'match.found', occurred_at, far)),
    max(if(type = 'match.found',
        (occurred_at, toString(event_id), content, visitor_id), (past, '', toUInt64(0), ''))),
    max(if(type = 'group.merged',
        (occurred_at, toString(event_id), content, into), (past, '', toUInt64(0), '')))
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, group_id
