-- How the pipeline itself does: written by workers beside their work, kept for two weeks, and nothing depends on it.

CREATE TABLE consumer_lag
(
    at DateTime64(3, 'UTC') COMMENT 'When it was asked',
    consumer LowCardinality(String) COMMENT 'Consumer group: gallery-ingest, gallery-refresh or gallery-faces',
    topic LowCardinality(String) COMMENT 'Topic that it reads',
    partition UInt32 COMMENT 'Partition of the topic',
    committed UInt64 COMMENT 'Offset behind the last message whose work is done',
    end_offset UInt64 COMMENT 'Offset behind the last message of the partition',
    lag UInt64 COMMENT 'Messages whose work is not done: end_offset - committed'
)
ENGINE = MergeTree
PARTITION BY toDate(at)
ORDER BY (consumer, topic, partition, at)
TTL toDateTime(at) + INTERVAL 14 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Lag of the consumer groups, asked every few seconds by refresh workers (each of them writes it). Empty with the embedded broker tansu, which tells wrong ends';

CREATE TABLE refreshes
(
    at DateTime64(3, 'UTC') COMMENT 'When the projections had it all, by the clock of the worker',
    kind LowCardinality(String) COMMENT 'changes: told by ingest; look: found behind without a change',
    changes UInt32 COMMENT 'Changes that were worked on together',
    facts UInt64 COMMENT 'Facts that these told of; 0 for a look',
    buckets UInt32 COMMENT 'Quarters of an hour (with gallery and type) that were computed anew',
    duration_ms UInt32 COMMENT 'How long that took',
    latency_ms Nullable(UInt32) COMMENT 'From Kafka''s oldest timestamp among the facts to `at`: how long an event took until dashboards showed it. NULL for a look'
)
ENGINE = MergeTree
PARTITION BY toDate(at)
ORDER BY (kind, at)
TTL toDateTime(at) + INTERVAL 14 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Refreshes of the projections that had something to do, one row each';
