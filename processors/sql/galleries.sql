SELECT
    gallery_id,
    max((occurred_at, toString(event_id), content, name, organizer_id, organizer,
        assumeNotNull(starts_at), assumeNotNull(ends_at), toString(timezone)))
FROM facts_of(galleries = {galleries:Array(String)}, types = {types:Array(String)}, buckets = {buckets:Array(UInt32)})
GROUP BY gallery_id
