-- Sharpness of the worse direction, so that what moved counts as blurred, too.

ALTER TABLE faces COMMENT COLUMN sharpness 'How sharp each face is in the worse of two directions at 64 px, below about 60 it is blurred; empty for pictures looked at before this was measured';
