WITH toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS far, toDateTime64('1900-01-01 00:00:00', 3, 'UTC') AS past
SELECT
    gallery_id,
    photo_id,
    min(if(type = 'photo.uploaded',
        (occurred_at, toString(event_id), bitNot(content), toString(origin), bytes, visitor_id),
        (far, '', toUInt64(0), '', toUInt64(0), ''))),
    max(if(type = 'photo.highlighted',
        (occurred_at, toString(event_id), content, highlighted), (past, '', toUInt64(0), false))),
    max(if(type = 'faces.detected',
        (occurred_at, toString(event_id), content, faces), (past, '', toUInt64(0), toUInt32(0)))),
    max(if(type = 'photo.grouped',
        (occurred_at, toString(event_id), content, group_ids), (past, '', toUInt64(0), []::Array(String)))),
    max(type IN ('faces.detected', 'faces.failed'))::Bool,
    max(type = 'photo.deleted')::Bool
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, photo_id
