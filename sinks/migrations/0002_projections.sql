-- What the processors derive from the facts. A set's rows merge whatever the order and the number of
-- writes; the counts row of the greatest version is the one that has seen most.
-- In a tuple that is compared, time and event_id come first and then the content hash, so that of two
-- facts with one key the same one counts here as in `events`. "First" is a min and takes the complement.

CREATE TABLE photos
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    photo_id String COMMENT 'Photo',
    first_upload SimpleAggregateFunction(min, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, origin String, bytes UInt64, visitor_id String)) COMMENT 'First photo.uploaded; the year 2299 while there is none',
    last_highlight SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, highlighted Bool)) COMMENT 'Latest photo.highlighted',
    last_faces SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, faces UInt32)) COMMENT 'Latest faces.detected',
    last_groups SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, group_ids Array(String))) COMMENT 'Latest photo.grouped',
    processed SimpleAggregateFunction(max, Bool) COMMENT 'There is a faces.detected or a faces.failed',
    deleted SimpleAggregateFunction(max, Bool) COMMENT 'There is a photo.deleted'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, photo_id)
COMMENT 'One row per photo';

CREATE TABLE selfies
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    selfie_id String COMMENT 'Selfie',
    first_taken SimpleAggregateFunction(min, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, visitor_id String)) COMMENT 'First selfie.taken; the year 2299 while there is none',
    first_match SimpleAggregateFunction(min, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, group_id String)) COMMENT 'First match.found; the year 2299 while there is none',
    last_miss SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, reason String)) COMMENT 'Latest match.missed'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, selfie_id)
COMMENT 'One row per selfie';

CREATE TABLE groups
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    group_id String COMMENT 'Group: one person',
    created SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'First group.created; the year 2299 while there is none',
    first_retrieved SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'First photos.retrieved; the year 2299 while there is none',
    first_found SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'First match.found; the year 2299 while there is none',
    last_match SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, visitor_id String)) COMMENT 'Latest match.found',
    merged SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, into String)) COMMENT 'Latest group.merged; into itself means undone'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, group_id)
COMMENT 'One row per group';

CREATE TABLE visitor_buckets
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    bucket DateTime('UTC') COMMENT 'Quarter of an hour',
    visitor_id String COMMENT 'Visitor',
    steps SimpleAggregateFunction(groupBitOr, UInt8) COMMENT 'Steps done: 1 visit, 2 selfie, 4 match, 8 retrieval, 16 download, 32 share',
    channels SimpleAggregateFunction(groupUniqArrayArray, Array(String)) COMMENT 'Channels of the visits',
    first_visit SimpleAggregateFunction(min, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, channel String)) COMMENT 'First visit; the year 2299 while there is none',
    last_nondirect SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, channel String)) COMMENT 'Last visit by another channel than direct'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, bucket, visitor_id)
COMMENT 'One row per visitor and quarter of an hour';

CREATE TABLE sponsor_buckets
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    bucket DateTime('UTC') COMMENT 'Quarter of an hour',
    sponsor_id String COMMENT 'Sponsor',
    visitor_id String COMMENT 'Visitor',
    seen SimpleAggregateFunction(groupBitOr, UInt8) COMMENT '1 impression, 2 viewable impression, 4 click'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, bucket, sponsor_id, visitor_id)
COMMENT 'One row per sponsor, visitor and quarter of an hour';

CREATE TABLE metrics
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    bucket DateTime('UTC') COMMENT 'Quarter of an hour',
    type LowCardinality(String) COMMENT 'Event type',
    version UInt128 COMMENT 'Sum over the facts of content hash + 1: whoever has seen more wins',
    events UInt64 COMMENT 'Number of facts',
    amount UInt64 COMMENT 'Photos of downloads and retrievals, bytes of uploads, faces of detections, else facts',
    channels Map(LowCardinality(String), UInt64) COMMENT 'Facts by channel',
    networks Map(LowCardinality(String), UInt64) COMMENT 'Facts by social network',
    sponsors Map(String, UInt64) COMMENT 'Facts by sponsor',
    viewable Map(String, UInt64) COMMENT 'Viewable impressions by sponsor',
    ads Map(String, UInt64) COMMENT 'Facts by ad: sponsor_id, a space, ad_id',
    campaigns Map(String, UInt64) COMMENT 'Facts by campaign',
    reasons Map(LowCardinality(String), UInt64) COMMENT 'Facts by reason'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (gallery_id, type, bucket)
COMMENT 'Counts, one row per gallery, event type and quarter of an hour, replaced whole';

CREATE TABLE galleries
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    latest SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, name String, organizer_id String, organizer String, starts_at DateTime64(3, 'UTC'), ends_at DateTime64(3, 'UTC'), timezone String)) COMMENT 'Latest gallery.scheduled'
)
ENGINE = AggregatingMergeTree
ORDER BY gallery_id
COMMENT 'One row per gallery that was scheduled';

CREATE TABLE campaigns
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    campaign_id String COMMENT 'Campaign',
    latest SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, name String, channel String, recipients UInt32)) COMMENT 'Latest campaign.sent'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, campaign_id)
COMMENT 'One row per campaign';

CREATE TABLE sponsors
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    sponsor_id String COMMENT 'Sponsor',
    latest SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, name String, fee Decimal(14, 2), currency String)) COMMENT 'Latest sponsor.registered'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, sponsor_id)
COMMENT 'One row per sponsor of a gallery';

CREATE TABLE conflicts
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    type LowCardinality(String) COMMENT 'Event type',
    occurred_at DateTime64(3, 'UTC') COMMENT 'Time of the fact',
    event_id UUID COMMENT 'Id of the fact',
    contents SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64)) COMMENT 'Content hashes seen under the key; the greatest counts'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, type, occurred_at, event_id)
COMMENT 'Keys that came with different contents';

CREATE TABLE looks
(
    name LowCardinality(String) COMMENT 'What was looked for',
    until SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'Facts inserted before this have been looked at'
)
ENGINE = AggregatingMergeTree
ORDER BY name
COMMENT 'How far the look for buckets that are behind has come';

CREATE VIEW facts_of COMMENT 'The facts of some galleries, types and buckets (seconds since 1970), each once' AS
SELECT *, bucket
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)}
  AND type IN {types:Array(String)}
  AND occurred_at >= toDateTime64(arrayMin({buckets:Array(UInt32)}), 3, 'UTC')
  AND occurred_at < toDateTime64(arrayMax({buckets:Array(UInt32)}) + 900, 3, 'UTC')
  AND toUnixTimestamp(bucket) IN {buckets:Array(UInt32)};
