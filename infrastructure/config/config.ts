import { existsSync, readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import { formatPolicy } from '../../domain/retention.ts';
import { StartupError } from '../startup-error.ts';
import { formVariables } from './form-variables.ts';
import { retentionPolicy } from './retention-policy.ts';
import {
  file,
  hostsOrRanges,
  onOff,
  origins,
  pairs,
  secret,
  tolerance,
  url,
  wholeNumber,
} from './variable-forms.ts';

const secrets = new Set([
  'METRICS_TOKEN',
  'FIELDLOG_API_KEY',
  'KAFKA_SASL_PASSWORD',
  'OTEL_EXPORTER_OTLP_HEADERS',
]);

/** Every variable Fieldlog reads, from the environment or the file `FIELDLOG_CONFIG` names. */
export const configSchema = z.object({
  PORT: wholeNumber(0, 65_535).default(8080).describe('port of the HTTP API'),
  HOST: z.string().min(1).default('127.0.0.1').describe('address the HTTP API listens on'),
  WORKER_PORT: wholeNumber(0, 65_535)
    .default(8081)
    .describe('port of the projectors, for health and metrics'),
  DATA_DIR: z.string().min(1).default('./data').describe('folder of the embedded files'),
  EVENTSTORE_URL: url('esdb', 'esdb+discover', 'kurrentdb', 'kurrentdb+discover')
    .optional()
    .describe('EventStoreDB; the embedded event store when absent'),
  KAFKA_BROKERS: z
    .string()
    .regex(/^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$/, 'must be host:port[,host:port…]')
    .optional()
    .describe('Kafka brokers; the embedded telemetry log when absent'),
  KAFKA_SSL: onOff().describe('whether brokers are spoken to by TLS'),
  KAFKA_SSL_CA_FILE: file().describe(
    "certificates in PEM that brokers' must stem from; Node's own when absent",
  ),
  KAFKA_SSL_CERT_FILE: file().describe('certificate in PEM that brokers are shown'),
  KAFKA_SSL_KEY_FILE: file().describe('private key of that certificate, in PEM'),
  KAFKA_SASL_MECHANISM: z
    .enum(['plain', 'scram-sha-256', 'scram-sha-512'])
    .optional()
    .describe('how the client authenticates to the brokers; not at all when absent'),
  KAFKA_SASL_USERNAME: z.string().min(1).optional().describe('user at the brokers'),
  KAFKA_SASL_PASSWORD: z.string().min(1).optional().describe("the user's password"),
  KAFKA_TOPIC: z
    .string()
    .regex(/^[\w.-]{1,249}$/)
    .default('iot-telemetry')
    .describe('topic of the telemetry log'),
  KAFKA_GROUP: z
    .string()
    .min(1)
    .default('iot-telemetry-group')
    .describe('consumer group of the live generation'),
  KAFKA_PARTITIONS: wholeNumber(1, 10_000).default(12).describe('partitions of a topic made at start'),
  KAFKA_REPLICATION: wholeNumber(1, 10).default(1).describe('replicas of a topic made at start'),
  KAFKA_MIN_INSYNC: wholeNumber(1, 10)
    .default(1)
    .describe('replicas that must have a batch before it is acknowledged'),
  KAFKA_RETENTION_MS: z.coerce
    .number()
    .int()
    .min(-1)
    .default(-1)
    .describe('how long a topic made at start keeps history, -1 for ever'),
  KAFKA_COMPRESSION: z.enum(['none', 'gzip', 'zstd']).default('zstd').describe('how batches are compressed'),
  KAFKA_LINGER_MS: wholeNumber(0, 1000)
    .default(3)
    .describe('how long concurrent requests are gathered into a batch'),
  CONCURRENCY: wholeNumber(1, 256).default(4).describe('partitions a telemetry projector handles at once'),
  MYSQL_URL: url('mysql', 'mariadb')
    .optional()
    .describe('MySQL or MariaDB; embedded read models when absent'),
  MYSQL_REPLICA_URL: url('mysql', 'mariadb').optional().describe('where queries read; MYSQL_URL when absent'),
  MYSQL_SSL: onOff().describe('whether the database and its replica are spoken to by TLS'),
  MYSQL_SSL_CA_FILE: file().describe(
    "certificates in PEM that the database's must stem from; Node's own when absent",
  ),
  MYSQL_POOL_SIZE: wholeNumber(1, 500).default(10).describe('connections of a process to the database'),

  ...formVariables,
  LIVE_STREAMS: wholeNumber(1, 100_000).default(1000).describe('live streams of one process at most'),
  LIVE_STREAMS_PER_KEY: wholeNumber(1, 100_000)
    .default(20)
    .describe('live streams of one API key in one process at most'),
  TLS_CERT_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('certificate chain in PEM, by which the API serves HTTPS; read again when it changes'),
  TLS_KEY_FILE: z.string().min(1).optional().describe('private key of the certificate, in PEM'),
  CORS_ORIGINS: origins().describe(
    'origins whose web pages may call the API, https://fleet.example[,…]; only its own pages when absent',
  ),
  METRICS_TOKEN: secret().describe('reads /metrics as `Authorization: Bearer …`, and nothing else'),
  RATE_LIMIT_PER_KEY: wholeNumber(1, 10_000_000)
    .optional()
    .describe('requests and readings an API key may send a second; no limit when absent'),
  RATE_LIMIT_PER_TOKEN: wholeNumber(1, 10_000_000)
    .default(50)
    .describe('requests a device token may send a second'),
  RATE_LIMIT_PER_DEVICE: wholeNumber(1, 10_000_000)
    .optional()
    .describe('readings a second that may be of one device; no limit when absent'),
  QUERIES_AT_ONCE: wholeNumber(1, 10_000)
    .default(16)
    .describe('queries of telemetry that one process runs at once; others wait up to 5 s'),
  RATE_LIMIT_BURST_SECONDS: wholeNumber(1, 3600)
    .default(10)
    .describe("how many seconds' worth may come at once after silence"),
  CLOCK_TOLERANCE: tolerance('1d').describe(
    'how far ahead of its arrival the time of a reading may be before it is parked as `future`: 90s, 15m, 2h, 1d, or forever',
  ),
  REQUIRE_KEYS: onOff().describe('whether every request needs an API key even before the first one is made'),
  FIELDLOG_API_KEY: secret().describe('API key that the command line shows to the server'),

  OTEL_EXPORTER_OTLP_ENDPOINT: url('http', 'https')
    .optional()
    .describe('collector of traces, OTLP over HTTP, as http://collector:4318; no traces when absent'),
  OTEL_EXPORTER_OTLP_HEADERS: pairs().describe('what is sent along to the collector, name=value[,…]'),
  OTEL_EXPORTER_OTLP_TIMEOUT: wholeNumber(1, 60_000)
    .default(5000)
    .describe('milliseconds that one export may take, and the last at shutdown'),
  OTEL_SERVICE_NAME: z.string().min(1).optional().describe('name in traces; fieldlog-ROLE when absent'),
  OTEL_RESOURCE_ATTRIBUTES: pairs().describe('what else traces say of this process, name=value[,…]'),
  OTEL_TRACES_SAMPLER: z
    .enum([
      'always_on',
      'always_off',
      'traceidratio',
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
    ])
    .default('parentbased_always_on')
    .describe('which requests are traced; parentbased_… those whose caller says so, others by what follows'),
  OTEL_TRACES_SAMPLER_ARG: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('share of the requests that a sampler named …traceidratio takes'),

  RETENTION: retentionPolicy
    .default([])
    .describe('how long points and rollups are kept: rules in JSON, or a file of them; for ever when absent'),
  KEEP_GENERATIONS: wholeNumber(0, 100)
    .default(1)
    .describe('retired generations of a projection to go back to; older ones are dropped'),
  DETECTION: z
    .enum(['off', 'rules', 'all'])
    .default('rules')
    .describe('what looks for alarms: nothing, rules, or also the value-novelty detector on every metric'),
  DETECTION_SERIES: wholeNumber(0, 100_000_000)
    .default(100_000)
    .describe('series that detection watches in a partition of the telemetry log at most'),
  NOTIFY_WITHIN: tolerance('1h').describe(
    'how old an alarm may be when it is found to be sent to hooks by itself, others are told in a summary: 90s, 15m, 2h, 1d, or forever',
  ),
  HOOKS_ALLOW: hostsOrRanges().describe(
    'hosts, addresses and CIDR ranges inside the network that hooks may send to, separated by commas; public addresses alone when absent',
  ),
  BATCH_SIZE: wholeNumber(1, 100_000)
    .default(50_000)
    .describe('events a projector takes in one transaction at most'),
  BACKLOG_LIMIT: wholeNumber(0, 1_000_000_000)
    .default(3_000_000)
    .describe('readings that telemetry may be behind in `serve` before ingest is slowed down; never when 0'),
  MAX_BODY_BYTES: wholeNumber(1024, 1_000_000_000).default(10_485_760).describe('greatest request body'),
  IMPORT_MAX_BYTES: wholeNumber(1024, 10_000_000_000)
    .default(52_428_800)
    .describe('greatest file that the API imports, and what it holds once it is decompressed'),
  ALLOW_OLD: onOff().describe(
    'whether the API takes timestamps such as 1767225600, of 1970 as milliseconds; refused as epoch seconds when false',
  ),
  DIRECTORY_SIZE: wholeNumber(100, 10_000_000)
    .default(100_000)
    .describe('devices remembered by an API node and, up to 50,000, by the projection of devices'),
  PROJECTOR_CACHE: wholeNumber(1_000_000, 2 ** 40)
    .default(134_217_728)
    .describe(
      'bytes, about, of what a telemetry projector remembers of devices, in all its partitions; embedded, half as much again of pages of the read models',
    ),
  BACKUP_DIR: z
    .string()
    .min(1)
    .optional()
    .describe('folder into which `serve` backs up the embedded files; no backups when absent'),
  BACKUP_EVERY: z
    .string()
    .regex(/^[1-9]\d{0,4}[smhd]$/, 'must be such as 30m, 6h or 1d')
    .default('1d')
    .describe('time from one backup to the next, such as 30m, 6h or 1d'),
  BACKUP_KEEP: wholeNumber(1, 10_000).default(7).describe('backups that stay, the newest'),
  DISK_RESERVE: wholeNumber(0, 2 ** 50)
    .optional()
    .describe(
      'bytes of the disk of DATA_DIR to stay free: below, rebuilds are refused, below a tenth all writes; 1 GiB or 5 % of the disk, whichever is less, when absent',
    ),
  SHUTDOWN_MS: wholeNumber(0, 600_000)
    .default(10_000)
    .describe('seconds that running requests get at shutdown'),
  SHUTDOWN_LEAD_MS: wholeNumber(0, 600_000)
    .default(0)
    .describe('how long to be not ready yet still serve before shutdown, for load balancers to notice'),
  AS_RECORDED_MS: wholeNumber(1, 86_400_000)
    .default(120_000)
    .describe('how long a query with asRecordedAt, which reads the whole log, may take'),
  PROJECTOR_STALL_MS: wholeNumber(1000, 3_600_000)
    .default(60_000)
    .describe('how long a projector may not move while events wait before /health/live fails'),
  LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('least level logged'),
});

export type Config = Readonly<z.infer<typeof configSchema>>;

/** Variables that mean nothing, and most likely not what was meant, without another one. */
const needed: readonly (readonly [name: keyof Config, without: keyof Config])[] = [
  ['KAFKA_SSL_CA_FILE', 'KAFKA_SSL'],
  ['KAFKA_SSL_CERT_FILE', 'KAFKA_SSL'],
  ['KAFKA_SSL_CERT_FILE', 'KAFKA_SSL_KEY_FILE'],
  ['KAFKA_SSL_KEY_FILE', 'KAFKA_SSL_CERT_FILE'],
  ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_USERNAME'],
  ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_PASSWORD'],
  ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_MECHANISM'],
  ['KAFKA_SASL_PASSWORD', 'KAFKA_SASL_MECHANISM'],
  ['MYSQL_SSL_CA_FILE', 'MYSQL_SSL'],
  ['MQTT_TLS', 'TLS_CERT_FILE'],
  ['MQTT_BROKER_CLIENT_ID', 'MQTT_BROKER_URL'],
  ['MQTT_BROKER_CA_FILE', 'MQTT_BROKER_URL'],
  ['MQTT_BROKER_CERT_FILE', 'MQTT_BROKER_URL'],
  ['MQTT_BROKER_CERT_FILE', 'MQTT_BROKER_KEY_FILE'],
  ['MQTT_BROKER_KEY_FILE', 'MQTT_BROKER_CERT_FILE'],
];

const checkedSchema = configSchema.superRefine((config, context) => {
  for (const [name, without] of needed)
    if (config[name] && !config[without])
      context.addIssue({
        code: 'custom',
        path: [name],
        message: `needs ${without}${typeof config[without] === 'boolean' ? '=true' : ''} beside it`,
      });
  if (config.KAFKA_MIN_INSYNC > config.KAFKA_REPLICATION)
    context.addIssue({
      code: 'custom',
      path: ['KAFKA_MIN_INSYNC'],
      message: `must be at most KAFKA_REPLICATION, which is ${config.KAFKA_REPLICATION}: no write would be acknowledged`,
    });
});

/** Reads and checks the configuration; throws a `StartupError` that names every variable that is wrong. */
export function configFrom(env: Readonly<Record<string, string | undefined>>): Config {
  const known = Object.keys(configSchema.shape);
  const environment = { ...fileOf(env.FIELDLOG_CONFIG), ...env };
  const set = known.filter((name) => environment[name] !== undefined && environment[name] !== '');
  const result = checkedSchema.safeParse(Object.fromEntries(set.map((name) => [name, environment[name]])));
  if (result.success) return result.data;
  const mistakes = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new StartupError(
    `Wrong configuration: ${mistakes.join('; ')}. \`fieldlog config --help\` lists every variable.`,
  );
}

/** As it is in force, with passwords and other secrets left out. */
export function maskedConfig(config: Config): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries({ ...config, RETENTION: JSON.stringify(formatPolicy(config.RETENTION)) }).map(
      ([name, value]) => [
        name,
        secrets.has(name) && value !== undefined
          ? '***'
          : typeof value === 'string'
            ? withoutSecrets(value)
            : value,
      ],
    ),
  );
}

/** Of a URL: the password, however it is written, and what its parameters say that may be secret. */
const withoutSecrets = (text: string): string =>
  text
    .replace(/(:\/\/[^:/?#]*):[^?#]*@/, '$1:***@')
    .replace(/([?&][^=&#]*(?:pass|pwd|secret|token|auth|credential)[^=&#]*=)[^&#]*/gi, '$1***');

/** The names and values of a variable that has several. */
export function pairsOf(text: string | undefined): Readonly<Record<string, string>> {
  const parts = text?.split(',') ?? [];
  return Object.fromEntries(
    parts.map((part) => {
      const [name = '', ...value] = part.split('=');
      return [name.trim(), decodeURIComponent(value.join('=').trim())];
    }),
  );
}

function fileOf(path: string | undefined): Record<string, string | undefined> {
  if (path === undefined || path === '') return {};
  if (!existsSync(path)) throw new StartupError(`FIELDLOG_CONFIG names ${path}, which does not exist`);
  // Editors of Windows put a byte order mark before the first name.
  const values = parseEnv(readFileSync(path, 'utf8').replace(/^\ufeff/, ''));
  const unknown = Object.keys(values).filter((name) => !Object.hasOwn(configSchema.shape, name));
  if (unknown.length > 0)
    throw new StartupError(`${path} sets ${unknown.join(', ')}, which Fieldlog does not know`);
  return values;
}

/** The text of the file that a variable names. Throws a `StartupError` that names the variable. */
export function fileNamedBy(variable: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new StartupError(`${variable} names ${file}, which cannot be read: ${(error as Error).message}`);
  }
}
