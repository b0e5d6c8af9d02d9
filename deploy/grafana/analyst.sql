-- Reads the read models for Grafana and can do nothing else. The port is open to this machine alone.
CREATE USER IF NOT EXISTS 'analyst'@'%' IDENTIFIED BY 'fieldlog-analyst';
GRANT SELECT ON iotdatabase.* TO 'analyst'@'%';
