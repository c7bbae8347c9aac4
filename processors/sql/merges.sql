-- All merges of a gallery at once: a row is the whole map, and its version grows with every fact that it has seen.
WITH RECURSIVE
    latest AS
    (
        SELECT gallery_id, group_id, argMax(into, (occurred_at, toString(event_id))) AS next
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type = 'group.merged'
        GROUP BY gallery_id, group_id
        HAVING next != group_id
    ),
    walk AS
    (
        SELECT gallery_id, group_id, next AS root, 1 AS links
        FROM latest
        UNION ALL
        SELECT walk.gallery_id, walk.group_id, latest.next, walk.links + 1
        FROM walk
        INNER JOIN latest ON walk.gallery_id = latest.gallery_id AND walk.root = latest.group_id
        WHERE walk.links < 16
    )
SELECT seen.gallery_id AS gallery_id, seen.version AS version, ends.roots AS roots
FROM
(
    SELECT gallery_id, sum(toUInt128(content) + 1) AS version
    FROM events FINAL
    WHERE gallery_id IN {galleries:Array(String)} AND type = 'group.merged'
    GROUP BY gallery_id
) AS seen
LEFT JOIN
(
    SELECT gallery_id, arraySort(groupArray((group_id, root)))::Map(String, String) AS roots
    FROM (SELECT gallery_id, group_id, argMax(root, links) AS root FROM walk GROUP BY gallery_id, group_id)
    GROUP BY gallery_id
) AS ends ON seen.gallery_id = ends.gallery_id
