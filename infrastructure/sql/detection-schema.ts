import { createTable, sequence } from './ddl.ts';
import type { Sql } from './sql.ts';

/** What is known of alarms besides what follows from the log: no rebuild may lose it. */
export const alarmTables = (dialect: Sql['dialect']): readonly string[] => [
  createTable(dialect, 'alarm_outbox', [
    `seq ${sequence(dialect)}`,
    'alarm_id VARCHAR(64) NOT NULL',
    'announcement MEDIUMTEXT NOT NULL',
  ]),
  createTable(dialect, 'alarm_acknowledgements', [
    'alarm_id VARCHAR(64) NOT NULL PRIMARY KEY',
    'acknowledged_at BIGINT NOT NULL',
    'acknowledged_by VARCHAR(160) NOT NULL',
    'note MEDIUMTEXT',
  ]),
  createTable(dialect, 'alarm_silences', [
    'rule_id VARCHAR(64) NOT NULL',
    'device_id VARCHAR(128) NOT NULL',
    'metric VARCHAR(128) NOT NULL',
    'silent_until BIGINT NOT NULL',
    'silenced_by VARCHAR(160) NOT NULL',
    'note MEDIUMTEXT',
    'PRIMARY KEY (rule_id, device_id, metric)',
  ]),
  createTable(dialect, 'hook_deliveries', [
    `id ${sequence(dialect)}`,
    'hook_id VARCHAR(64) NOT NULL',
    'alarm_id VARCHAR(64) NOT NULL',
    'event_id VARCHAR(64) NOT NULL',
    'announcement MEDIUMTEXT NOT NULL',
    'state VARCHAR(16) NOT NULL',
    'tries INTEGER NOT NULL',
    'due_at BIGINT NOT NULL',
    'created_at BIGINT NOT NULL',
    'error MEDIUMTEXT',
    'UNIQUE (hook_id, alarm_id, event_id)',
  ]),
];

/** The tables of a generation of detection. */
export const detectionColumns: Readonly<Record<string, readonly string[]>> = {
  detection_states: [
    'device_id VARCHAR(128) NOT NULL',
    'rule_id VARCHAR(64) NOT NULL',
    'metric VARCHAR(128) NOT NULL',
    'part INTEGER NOT NULL',
    'revision BIGINT NOT NULL',
    'state MEDIUMTEXT NOT NULL',
    'alarm_id VARCHAR(64)',
    'due BIGINT',
    'PRIMARY KEY (device_id, rule_id, metric)',
  ],
  alarms: [
    'alarm_id VARCHAR(64) NOT NULL PRIMARY KEY',
    'rule_id VARCHAR(64) NOT NULL',
    'rule_revision BIGINT NOT NULL',
    'rule_name VARCHAR(200) NOT NULL',
    'kind VARCHAR(16) NOT NULL',
    'severity VARCHAR(16) NOT NULL',
    'device_id VARCHAR(128) NOT NULL',
    'metric VARCHAR(128)',
    'part INTEGER NOT NULL',
    'state VARCHAR(16) NOT NULL',
    'raised_at BIGINT NOT NULL',
    'position VARCHAR(64) NOT NULL',
    'correlation_id VARCHAR(160) NOT NULL',
    'value DOUBLE',
    'magnitude DOUBLE NOT NULL',
    'explanation MEDIUMTEXT NOT NULL',
    'escalations INTEGER NOT NULL',
    'cleared_at BIGINT',
    'cleared_by MEDIUMTEXT',
    'notify MEDIUMTEXT NOT NULL',
  ],
  detection_totals: [
    'part INTEGER NOT NULL PRIMARY KEY',
    'points BIGINT NOT NULL',
    'out_of_order BIGINT NOT NULL',
    'unwatched BIGINT NOT NULL',
    'text_values BIGINT NOT NULL',
    'series BIGINT NOT NULL',
    'newest BIGINT NOT NULL',
  ],
};

/** The columns by which rows are found besides their key, by table and index. */
export const detectionIndexes: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  detection_states: { detection_states_index: 'due' },
  alarms: { alarms_index: 'state, raised_at' },
};
