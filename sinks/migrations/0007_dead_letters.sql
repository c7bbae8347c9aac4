-- What was done with dead letters, and where each stands.

CREATE TABLE dead_letter_log
(
    at DateTime64(3, 'UTC') COMMENT 'When',
    action Enum8('replayed' = 1, 'dropped' = 2) COMMENT 'What was done: its event was published again, or its bytes were deleted',
    by LowCardinality(String) COMMENT 'Who did it: user of the machine that the command ran on',
    note String COMMENT 'Why, in their words',
    letter_id UInt64 COMMENT 'Hash of the bytes',
    received_at DateTime64(3, 'UTC') COMMENT 'Timestamp of the Kafka message',
    reason LowCardinality(String) COMMENT 'Why it was no event',
    field String COMMENT 'Path of the first field that was wrong',
    producer String COMMENT 'What the message said of its producer',
    type String COMMENT 'What it said of its type',
    gallery_id String COMMENT 'What it said of its gallery',
    topic LowCardinality(String) COMMENT 'Topic it was read from',
    partition UInt32 COMMENT 'Partition it was read from',
    offset UInt64 COMMENT 'Offset it was read from',
    bytes UInt64 COMMENT 'Size of the message'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (letter_id, received_at, at)
COMMENT 'Audit trail of dead letters: a row for each that was replayed or dropped, without its bytes; nothing is ever removed';

CREATE VIEW dead_letter_states COMMENT 'Dead letters and where each stands
letter_id: Hash of the bytes
received_at: Timestamp of the Kafka message
state: open, replayed or dropped (the latest in the audit trail)
reason: Why it is no event
field: Path of the first field that is wrong
detail: What is wrong with it
producer: What the message says of its producer
type: What it says of its type
gallery_id: What it says of its gallery
topic: Topic it was read from
partition: Partition it was read from
offset: Offset it was read from
bytes: Size of the message
raw: The bytes as they came' AS
SELECT letters.letter_id AS letter_id, letters.received_at AS received_at, if(last = '', 'open', last) AS state,
    reason, field, detail, producer, JSONExtractString(raw, 'type') AS type, JSONExtractString(raw, 'gallery_id') AS gallery_id,
    topic, partition, offset, length(raw) AS bytes, raw
FROM dead_letters AS letters FINAL
LEFT JOIN
(
    SELECT letter_id, received_at, toString(argMax(action, at)) AS last FROM dead_letter_log GROUP BY letter_id, received_at
) AS done ON letters.letter_id = done.letter_id AND letters.received_at = done.received_at;
