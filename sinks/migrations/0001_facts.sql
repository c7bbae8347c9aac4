-- The facts, what could not be read, and who the visitors are. Written by ingest alone.

CREATE TABLE events
(
    event_id UUID COMMENT 'Id of the fact, made by its producer (UUIDv7) or derived by a worker (UUIDv5)',
    type LowCardinality(String) COMMENT 'Event type, such as photo.uploaded',
    version UInt16 COMMENT 'Version of the event type, after upcasting',
    gallery_id LowCardinality(String) COMMENT 'Gallery the fact belongs to',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock of the producer; never rewritten',
    bucket DateTime('UTC') MATERIALIZED toStartOfInterval(occurred_at, INTERVAL 15 MINUTE) COMMENT 'Quarter of an hour that occurred_at lies in',
    producer LowCardinality(String) COMMENT 'Program that published it',
    visitor_id String COMMENT 'Pseudonym of the person who acted; empty where nobody did',
    session_id String COMMENT 'Session of that person',

    photo_id String COMMENT 'Photo, unique within its gallery',
    origin LowCardinality(String) COMMENT 'Who uploads: organizer or community',
    bytes UInt64 COMMENT 'Size of the photo in bytes',
    width UInt32 COMMENT 'Width of the photo in pixels',
    height UInt32 COMMENT 'Height of the photo in pixels',
    uri String COMMENT 'Where the picture lies',
    taken_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the photo was taken, by the camera',
    reason LowCardinality(String) COMMENT 'Why an upload, a face detection or a match failed',
    highlighted Bool COMMENT 'Whether the photo is a highlight from now on',
    faces UInt32 COMMENT 'Faces found in the photo',
    model LowCardinality(String) COMMENT 'Face model, with its version',
    duration_ms UInt32 COMMENT 'Time the face worker took for the photo, in ms',
    group_id String COMMENT 'Group: one person in the photos of a gallery',
    into String COMMENT 'Group that a merge or a split leads to',
    photo_ids Array(String) COMMENT 'Photos that a split moves',
    group_ids Array(String) COMMENT 'Everybody found in the photo',
    selfie_id String COMMENT 'Selfie, unique within its gallery',
    score Float64 COMMENT 'Distance of the selfie to the centre of the group',
    photos UInt32 COMMENT 'Number of photos found, retrieved or downloaded',
    network LowCardinality(String) COMMENT 'Social network a photo was shared to',
    channel LowCardinality(String) COMMENT 'Way a visitor came, or a campaign went out',
    referrer String COMMENT 'Referring page of a visit',
    utm_source String COMMENT 'utm_source of a visit',
    utm_medium String COMMENT 'utm_medium of a visit',
    campaign_id String COMMENT 'Campaign that was sent, or that a visit came from',
    recipients UInt32 COMMENT 'Addressees of a campaign',
    sponsor_id String COMMENT 'Sponsor, the same across galleries',
    ad_id String COMMENT 'Ad of the sponsor',
    placement LowCardinality(String) COMMENT 'Place of the ad on the page',
    visible_ms UInt32 COMMENT 'How long the ad was on the screen, in ms',
    visible_ratio Float64 COMMENT 'Greatest visible share of the ad, 0 to 1',
    name String COMMENT 'Name of a gallery, campaign or sponsor; never of a person',
    organizer_id String COMMENT 'Organizer of the gallery',
    organizer String COMMENT 'Name of the organizer',
    starts_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Start of the event that the gallery shows',
    ends_at Nullable(DateTime64(3, 'UTC')) COMMENT 'End of the event that the gallery shows',
    timezone LowCardinality(String) COMMENT 'IANA time zone of the gallery',
    fee Decimal(14, 2) COMMENT 'What a sponsor pays for the gallery',
    currency LowCardinality(String) COMMENT 'ISO 4217 currency of the fee',

    content UInt64 COMMENT 'Hash of the content as published: of two facts with one key, the greater counts',
    received_at DateTime64(3, 'UTC') COMMENT 'Timestamp of the Kafka message',
    topic LowCardinality(String) COMMENT 'Topic it was read from',
    partition UInt32 COMMENT 'Partition it was read from',
    offset UInt64 COMMENT 'Offset it was read from',
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When ClickHouse took it; outside the content hash',
    INDEX inserted inserted_at TYPE minmax
)
ENGINE = ReplacingMergeTree(content)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (gallery_id, type, occurred_at, event_id)
COMMENT 'The facts, one row per event. Read with FINAL, or count distinct (gallery_id, type, occurred_at, event_id)';

CREATE TABLE attendees
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    visitor_id String COMMENT 'Pseudonym of the visitor',
    latest SimpleAggregateFunction(max, Tuple(time DateTime64(3, 'UTC'), event_id String, content UInt64, name String, consent Bool)) COMMENT 'Latest registration or erasure (then without name and consent)'
)
ENGINE = AggregatingMergeTree
ORDER BY (gallery_id, visitor_id)
COMMENT 'Names of visitors: the only place that holds them';

CREATE TABLE dead_letters
(
    letter_id UInt64 COMMENT 'Hash of the bytes',
    received_at DateTime64(3, 'UTC') COMMENT 'Timestamp of the Kafka message',
    reason LowCardinality(String) COMMENT 'Why it is no event: not_json, too_large, unknown_type, unknown_version, invalid_field, future or wrong_topic',
    field String COMMENT 'Path of the first field that is wrong',
    detail String COMMENT 'What is wrong with it',
    producer String COMMENT 'What the message says of its producer',
    topic LowCardinality(String) COMMENT 'Topic it was read from',
    partition UInt32 COMMENT 'Partition it was read from',
    offset UInt64 COMMENT 'Offset it was read from',
    raw String COMMENT 'The bytes as they came'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (letter_id, received_at)
COMMENT 'Messages that are no event, one row per bytes and Kafka timestamp';
