-- Times are milliseconds since 1970-01-01T00:00:00Z.
CREATE TABLE objects (
  id INTEGER PRIMARY KEY,
  online INTEGER NOT NULL CHECK (online IN (0, 1)),
  last_seen INTEGER NOT NULL,
  checked_at INTEGER NOT NULL
) STRICT;

CREATE INDEX objects_last_seen ON objects (last_seen);
