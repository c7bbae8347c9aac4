-- What reports ask beside the views that there are, and what was delivered.

CREATE VIEW sponsor_by_day COMMENT 'Impressions, viewable impressions and clicks of each sponsor by day of the gallery''s own zone
gallery_id: Gallery
sponsor_id: Sponsor
day: Local day
impressions: Ads shown in the range
viewable: Those with half of the ad or more on the screen for a second or more
clicks: Ads clicked in the range' AS
SELECT gallery_id, sponsor_id, day, sum(shown) AS impressions, sum(seen) AS viewable, sum(pressed) AS clicks
FROM
(
    SELECT counted.gallery_id AS gallery_id, sponsor_id,
        toDate(formatDateTime(bucket, '%F', if(schedules.timezone = '', 'UTC', schedules.timezone))) AS day, shown, seen, pressed
    FROM
    (
        SELECT gallery_id, bucket, pair.1 AS sponsor_id, if(type = 'sponsor.impression', pair.2, 0) AS shown, toUInt64(0) AS seen, if(type = 'sponsor.clicked', pair.2, 0) AS pressed
        FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
        ARRAY JOIN CAST(sponsors, 'Array(Tuple(String, UInt64))') AS pair
        WHERE type IN ('sponsor.impression', 'sponsor.clicked')
        UNION ALL
        SELECT gallery_id, bucket, pair.1, 0, pair.2, 0
        FROM counts(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
        ARRAY JOIN CAST(viewable, 'Array(Tuple(String, UInt64))') AS pair
        WHERE type = 'sponsor.impression'
    ) AS counted
    LEFT JOIN schedules ON counted.gallery_id = schedules.gallery_id
)
GROUP BY gallery_id, sponsor_id, day
HAVING impressions + viewable + clicks > 0
ORDER BY gallery_id, sponsor_id, day;

CREATE TABLE deliveries
(
    name String COMMENT 'File name of the report; names the report, the gallery and the days',
    place String COMMENT 'Hash of where it went: a folder, a bucket or addresses',
    delivered_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was delivered'
)
ENGINE = ReplacingMergeTree
ORDER BY (place, name)
COMMENT 'Scheduled reports that were delivered, so that none goes out twice';
