CREATE TABLE watermark_reports (
  process text PRIMARY KEY,
  role text NOT NULL CHECK (role IN ('server', 'worker')),
  oldest timestamptz,
  stopped boolean NOT NULL,
  reported_at timestamptz NOT NULL
);
