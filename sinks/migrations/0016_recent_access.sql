-- Two galleries that hold the same id at the same time came in any order.

CREATE OR REPLACE VIEW recent_access COMMENT 'Who opened their photos in the range, newest first
time: When
event_id: Id of the photos.retrieved
gallery_id: Gallery
visitor_id: Pseudonym of the visitor
name: Their name, where it may be shown
group_id: Group as it was then, before later merges
photos: Photos they saw' AS
SELECT occurred_at AS time, opened.event_id AS event_id, gallery_id, visitor_id, names.name AS name, group_id, photos
FROM
(
    SELECT occurred_at, toString(event_id) AS event_id, gallery_id, visitor_id, group_id, photos
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type = 'photos.retrieved'
      AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
) AS opened
LEFT JOIN attendee_names(galleries = {galleries:Array(String)}) AS names
    ON opened.gallery_id = names.gallery_id AND opened.visitor_id = names.visitor_id
ORDER BY time DESC, event_id DESC, gallery_id;
