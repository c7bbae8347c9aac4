SELECT gallery_id, campaign_id, max((occurred_at, toString(event_id), content, name, toString(channel), recipients))
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id, campaign_id
