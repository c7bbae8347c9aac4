-- Who is in many photos and has not opened them?
--
-- People and photos as in `top_people`. `found`: a selfie has found the person already, so a message can reach them;
-- else they have to be asked for a selfie on site.
SELECT gallery_id, group_id, photos, found
FROM people(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
WHERE NOT matched
ORDER BY photos DESC, gallery_id, group_id
LIMIT {limit:UInt32};
