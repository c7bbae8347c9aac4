-- The strings that migration 0012 describes: they compare as (time, event_id, content hash) does. "First" is a min
-- and takes the complement of the hash.
WITH
    concat(reverse(reinterpretAsFixedString(toUnixTimestamp64Milli(occurred_at) + 0x4000000000000000)), UUIDStringToNum(toString(event_id))) AS moment,
    reverse(reinterpretAsFixedString(content)) AS hash
SELECT
    gallery_id,
    photo_id,
    min(if(type = 'photo.uploaded',
        concat(moment, reverse(reinterpretAsFixedString(bitNot(content))), reinterpretAsFixedString(bytes), toString(origin), ' ', visitor_id), char(255))) AS upload,
    max(if(type = 'photo.highlighted', concat(moment, hash, if(highlighted, '1', '0')), '')) AS highlight,
    max(if(type = 'faces.detected', concat(moment, hash, reinterpretAsFixedString(faces)), '')) AS detection,
    max(if(type = 'photo.grouped', concat(moment, hash, arrayStringConcat(group_ids, ' ')), '')) AS grouping,
    max(type IN ('faces.detected', 'faces.failed'))::Bool,
    max(type = 'photo.deleted')::Bool
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, photo_id
