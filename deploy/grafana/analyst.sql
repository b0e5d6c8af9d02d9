-- Reads the views for analysts and can do nothing else: not the keys, nor the tables behind the views. The port is open
-- to this machine alone.
CREATE USER IF NOT EXISTS 'analyst'@'%' IDENTIFIED BY 'fieldlog-analyst';
GRANT SELECT ON iotdatabase.devices TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.device_labels TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.device_history TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.telemetry TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.telemetry_latest TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.telemetry_1m TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.telemetry_1h TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.telemetry_1d TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.telemetry_ledger TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.detection_totals TO 'analyst'@'%';
GRANT SELECT ON iotdatabase.alarms TO 'analyst'@'%';
