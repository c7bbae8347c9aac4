-- Who contributes photos, how many, and how good are they?
--
-- Community photos of the range by visitor (empty where unknown), with the highlights among them, and their share
-- of all contributions of the galleries.
SELECT gallery_id, visitor_id, photos, bytes, highlighted, first_at, last_at, share
FROM
(
    SELECT gallery_id, visitor_id, count() AS photos, sum(photos_in_range.bytes) AS bytes,
        countIf(photos_in_range.highlighted) AS highlighted, min(uploaded_at) AS first_at, max(uploaded_at) AS last_at,
        photos / sum(photos) OVER () AS share
    FROM photos_in_range(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    WHERE origin = 'community'
    GROUP BY gallery_id, visitor_id
)
ORDER BY photos DESC, gallery_id, visitor_id
LIMIT {limit:UInt32};
