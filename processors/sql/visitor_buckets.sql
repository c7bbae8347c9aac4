WITH toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS far, toDateTime64('1900-01-01 00:00:00', 3, 'UTC') AS past
SELECT
    gallery_id,
    bucket,
    visitor_id,
    groupBitOr(toUInt8(transform(toString(type),
        ['gallery.visited', 'selfie.taken', 'match.found', 'photos.retrieved', 'photo.downloaded', 'photo.shared'],
        [1, 2, 4, 8, 16, 32], 0))),
    arraySort(groupUniqArrayIf(toString(channel), type = 'gallery.visited')),
    min(if(type = 'gallery.visited',
        (occurred_at, toString(event_id), bitNot(content), toString(channel)), (far, '', toUInt64(0), ''))),
    max(if(type = 'gallery.visited' AND channel != 'direct',
        (occurred_at, toString(event_id), content, toString(channel)), (past, '', toUInt64(0), '')))
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, bucket, visitor_id
