CREATE TABLE IF NOT EXISTS readings (
  device_id VARCHAR(128) NOT NULL,
  ts BIGINT NOT NULL,
  metrics TEXT NOT NULL,
  PRIMARY KEY (device_id, ts)
);
