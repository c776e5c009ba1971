-- Times are milliseconds since 1970-01-01T00:00:00Z.
CREATE TABLE watermark_reports (
  process TEXT PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('server', 'worker')),
  oldest INTEGER,
  stopped INTEGER NOT NULL CHECK (stopped IN (0, 1)),
  reported_at INTEGER NOT NULL
) STRICT;
