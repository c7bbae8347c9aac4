-- How many people are in one photo, in two, in three ...?
--
-- One row per number of photos. People and photos as in `top_people`: merged groups are one person, photos are those
-- first uploaded in the range. `share` is that of all people, `share_with_at_least` of those with so many or more.
SELECT photos, people, people / sum(people) OVER () AS share,
    sum(people) OVER (ORDER BY photos DESC) / sum(people) OVER () AS share_with_at_least
FROM
(
    SELECT photos, count() AS people
    FROM people(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    GROUP BY photos
)
ORDER BY photos;
