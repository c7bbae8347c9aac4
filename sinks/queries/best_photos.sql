-- Which photos are downloaded and shared most?
--
-- Downloads and shares of the range that name a photo: a zip names none. Photos that were deleted are left out,
-- photos of any age count.
SELECT used.gallery_id AS gallery_id, used.photo_id AS photo_id, photos.first_upload.origin AS origin,
    photos.last_highlight.highlighted AS highlighted, downloads, shares, downloads + shares AS uses
FROM
(
    SELECT gallery_id, photo_id, countIf(type = 'photo.downloaded') AS downloads, countIf(type = 'photo.shared') AS shares
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.downloaded', 'photo.shared') AND photo_id != ''
      AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
    GROUP BY gallery_id, photo_id
) AS used
LEFT JOIN (SELECT * FROM photo_states WHERE gallery_id IN {galleries:Array(String)}) AS photos
    ON used.gallery_id = photos.gallery_id AND used.photo_id = photos.photo_id
WHERE NOT photos.deleted
ORDER BY uses DESC, shares DESC, gallery_id, photo_id
LIMIT {limit:UInt32};
