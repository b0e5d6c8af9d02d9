export type MetricValue = number | boolean | string;
export type Metrics = Readonly<Record<string, MetricValue>>;

/**
 * What a device measured at one moment: a fact, not an aggregate.
 * `timestamp` is the device's own time in whole milliseconds since 1970-01-01T00:00:00Z, negative before it.
 */
export type Reading = {
  readonly deviceId: string;
  readonly timestamp: number;
  readonly metrics: Metrics;
  /**
   * Sent without a time: `timestamp` is its arrival. It stands at the first millisecond from there on that no other
   * reading of the device has: two of one millisecond, through two nodes, are two readings and not a correction.
   */
  readonly untimed?: true;
};

export const readingLimits = {
  metrics: 64,
  nameLength: 128,
  textLength: 512,
  /** Greatest magnitude of a number: so many fit a day's sum that it cannot leave the range of a double. */
  magnitude: 1e300,
  /** 0001-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z: what ISO 8601 and both SQL engines can show. */
  earliest: -62_135_596_800_000,
  latest: 253_402_300_799_999,
} as const;

export const deviceIdForm = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
/** Begins as names of OBIS (`1-0:1.8.0`) and paths do, but not as a formula of a spreadsheet does. */
export const metricNameForm = /^[A-Za-z0-9_./][A-Za-z0-9_.:/-]*$/;

/** Letters, digits and `. _ : -`, starting with a letter or digit, at most 128. */
export const isDeviceId = (value: unknown): value is string =>
  typeof value === 'string' && deviceIdForm.test(value);

export const isMetricName = (name: string): boolean =>
  name.length <= readingLimits.nameLength && metricNameForm.test(name) && name !== '__proto__';

export const isMetricValue = (value: unknown): value is MetricValue =>
  typeof value === 'number'
    ? value >= -readingLimits.magnitude && value <= readingLimits.magnitude
    : typeof value === 'boolean' ||
      (typeof value === 'string' && value.length <= readingLimits.textLength && value.isWellFormed());

export const isTimestamp = (value: unknown): value is number =>
  Number.isInteger(value) &&
  (value as number) >= readingLimits.earliest &&
  (value as number) <= readingLimits.latest;

/** One to 64 well-formed metrics in a plain object. */
export function isMetrics(value: unknown): value is Metrics {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  let count = 0;
  for (const name in value) {
    if (!isMetricName(name) || !isMetricValue((value as Record<string, unknown>)[name])) return false;
    count += 1;
  }
  return count >= 1 && count <= readingLimits.metrics;
}

/** The whole check, written for the hot path: the projector runs it on every reading it takes from the log. */
export function isReading(value: unknown): value is Reading {
  if (typeof value !== 'object' || value === null) return false;
  const reading = value as Partial<Reading>;
  return isDeviceId(reading.deviceId) && isTimestamp(reading.timestamp) && isMetrics(reading.metrics);
}

/** Takes back what a device said of a time range; the readings themselves stay in the log. */
export type Retraction = {
  readonly deviceId: string;
  /** Every metric when absent. */
  readonly metric?: string;
  /** Epoch milliseconds, inclusive. */
  readonly from: number;
  /** Epoch milliseconds, exclusive. */
  readonly to: number;
  readonly reason: string;
};

/**
 * A clock found that nothing had come of a device for as long as a rule allows. It stands in the log among the readings,
 * so that whoever reads these again knows what had come by then.
 */
export type SilenceNotice = {
  readonly deviceId: string;
  readonly ruleId: string;
  /** `null` for a rule about any reading. */
  readonly metric: string | null;
  /** Epoch milliseconds: when the last arrival was too long ago. */
  readonly due: number;
};

/** A person wants an open alarm cleared; its place in the log says between which readings. */
export type AlarmClearRequest = {
  readonly alarmId: string;
  readonly deviceId: string;
  readonly ruleId: string;
  /** `null` for an alarm about any reading. */
  readonly metric: string | null;
  readonly note: string | null;
};

// Type names and field names below are stored for ever. Add; never rename.
export type TelemetryEvent =
  | { readonly type: 'TelemetryRecorded'; readonly data: Reading }
  | { readonly type: 'TelemetryRetracted'; readonly data: Retraction }
  | DetectionEvent;

/** What only rules and alarms are concerned with. */
export type DetectionEvent =
  | { readonly type: 'SilenceNoticed'; readonly data: SilenceNotice }
  | { readonly type: 'AlarmClearRequested'; readonly data: AlarmClearRequest };

export const isDetectionEvent = (type: string): type is DetectionEvent['type'] =>
  type === 'SilenceNoticed' || type === 'AlarmClearRequested';
