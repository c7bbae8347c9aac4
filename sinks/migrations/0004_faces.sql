-- What the face worker remembers. Nobody else writes here, and no dashboard reads it.
-- Both tables are read with FINAL: a write whose answer got lost is repeated as it was.

CREATE TABLE faces
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    model LowCardinality(String) COMMENT 'Face model, with its version; only embeddings of one model can be compared',
    photo_id String COMMENT 'Photo, unique within its gallery',
    cause UUID COMMENT 'event_id of the photo.uploaded that told of the picture',
    stored_at DateTime64(3, 'UTC') COMMENT 'When the picture was looked at; 90 days later the row is deleted',
    duration_ms UInt32 COMMENT 'Time that fetching the picture and finding its faces took, in ms',
    boxes Array(Tuple(x UInt32, y UInt32, width UInt32, height UInt32)) COMMENT 'Where the faces are, in pixels of the scaled picture, largest first',
    confidences Array(Float64) COMMENT 'How sure the detector is of each face, 0 to 1',
    embeddings Array(Array(Float32)) COMMENT 'Embedding of each face, as the model gives it: biometric, and nowhere else'
)
ENGINE = ReplacingMergeTree(stored_at)
ORDER BY (gallery_id, model, photo_id, cause)
TTL toDateTime(stored_at) + INTERVAL 90 DAY
COMMENT 'Faces of the photos, one row per picture that was looked at, also for one without faces: the only place with biometric data';

CREATE TABLE face_steps
(
    gallery_id LowCardinality(String) COMMENT 'Gallery',
    step UInt32 COMMENT 'Number of the step in its gallery, from 1',
    model LowCardinality(String) COMMENT 'Face model, with its version',
    stored_at DateTime64(3, 'UTC') COMMENT 'occurred_at of the events of the step; later than that of the step before',
    causes Array(UUID) COMMENT 'event_id of each photo.uploaded and selfie.taken that the step answers',
    events Array(String) COMMENT 'The answer: bytes of the derived events, to be published exactly so, however often',
    groups Map(String, String) COMMENT 'Face (photo_id, space, place in the row of faces) to its group from this step on; only changes, empty for nobody',
    merged Map(String, String) COMMENT 'Group that is gone to the one that goes on'
)
ENGINE = ReplacingMergeTree
ORDER BY (gallery_id, step)
COMMENT 'Journal of the face worker: one row is all that came of some photos and selfies of one gallery, written at once';
