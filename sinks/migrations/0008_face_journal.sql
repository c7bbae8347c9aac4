-- Several face workers may work on one gallery: of two steps with one number the first one counts.

CREATE TABLE face_journal
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    step UInt32 COMMENT 'Number of the step in its gallery, from 1',
    writer UUID COMMENT 'Attempt that made the step: of several with one number the first one counts',
    model LowCardinality(String) COMMENT 'Face model, with its version',
    stored_at DateTime64(3, 'UTC') COMMENT 'occurred_at of the events of the step; later than that of the step before',
    causes Array(UUID) COMMENT 'event_id of each event that the step answers',
    events Array(String) COMMENT 'The answer: bytes of the derived events, to be published exactly so, however often',
    groups Map(String, String) COMMENT 'Face (photo_id, space, place in the row of faces) to its group from this step on; only changes, empty for nobody',
    merged Map(String, String) COMMENT 'Group to the one that goes on; to itself when the merge is undone',
    pins Map(String, String) COMMENT 'Face to the group that an organizer put it into; only changes, empty for none',
    selfies Map(UUID, Bool) COMMENT 'event_id of a selfie.taken to whether it still looks for its group; only changes',
    deleted Array(String) COMMENT 'Photos that were deleted',
    reopened Array(UUID) COMMENT 'Triggers that are to be answered anew',
    faces UInt32 COMMENT 'New faces that no clustering knows',
    clustered Bool COMMENT 'Whether all faces were grouped anew',
    forgotten Bool COMMENT 'Whether all embeddings of the gallery were deleted',
    came_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When ClickHouse took it',
    earliest UInt64 DEFAULT 18446744073709551615 - toUInt64(toUnixTimestamp64Milli(now64(3))) COMMENT 'The greater, the earlier it came, by the clock of ClickHouse'
)
ENGINE = ReplacingMergeTree(earliest)
ORDER BY (gallery_id, step)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Journal of the face worker: one row is all that came of some events of one gallery, written at once';

INSERT INTO face_journal (gallery_id, step, writer, model, stored_at, causes, events, groups, merged, faces, came_at)
SELECT gallery_id, step, generateUUIDv4(), model, stored_at, causes, events, groups, merged, 1, stored_at FROM face_steps FINAL;

DROP TABLE IF EXISTS face_steps;

CREATE TABLE face_leases
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    holder UUID COMMENT 'Face worker that groups all its faces at the moment',
    taken_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When, by the clock of ClickHouse'
)
ENGINE = ReplacingMergeTree(taken_at)
ORDER BY gallery_id
COMMENT 'Which face worker groups a large gallery, so that no other does the same work: a courtesy, nothing depends on it';

ALTER TABLE faces ADD COLUMN IF NOT EXISTS selfie_id String COMMENT 'Selfie, where the picture is one that found nobody so far; then there is no photo' AFTER photo_id;

ALTER TABLE faces ADD COLUMN IF NOT EXISTS visitor_id String COMMENT 'Pseudonym of the person who took the selfie' AFTER selfie_id;

ALTER TABLE faces ADD COLUMN IF NOT EXISTS session_id String COMMENT 'Session of that person' AFTER visitor_id;
