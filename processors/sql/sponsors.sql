SELECT gallery_id, sponsor_id, max((occurred_at, toString(event_id), content, name, fee, toString(currency)))
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, sponsor_id
