-- How well each face can be seen, and when a visitor was erased: selfies of theirs must go.

ALTER TABLE faces ADD COLUMN IF NOT EXISTS sharpness Array(Float32) COMMENT 'Variance of the Laplacian of each face at 64 px, below about 100 it is blurred; empty for pictures looked at before this was measured';

ALTER TABLE faces ADD COLUMN IF NOT EXISTS poses Array(Tuple(yaw Float32, pitch Float32, roll Float32)) COMMENT 'Where each face looks: yaw in distances of the eyes, pitch in distances of eyes and mouth, roll in degrees; 0 is straight on; empty like sharpness';

ALTER TABLE attendees ADD COLUMN IF NOT EXISTS erased_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'Latest erasure; 1970 for none';
