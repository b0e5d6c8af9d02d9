import type { SubmittedReading } from '../../../application/telemetry/ingest.ts';
import {
  isDeviceId,
  isMetricName,
  isMetricValue,
  isTimestamp,
  type MetricValue,
  readingLimits,
} from '../../../domain/telemetry.ts';
import { metricValueFault, timestampFault } from '../value-faults.ts';

/** The whole payload is not what it says it is; nothing of it was taken. */
export class MalformedPayload extends Error {
  override readonly name = 'MalformedPayload';
}

/** The payload has more readings or samples than one may have; nothing of it was taken. */
export class OversizedPayload extends Error {
  override readonly name = 'OversizedPayload';
  readonly limit: number;

  constructor(limit: number, things: string) {
    super(`It must have at most ${limit} ${things}`);
    this.limit = limit;
  }
}

/** One sample or record that was not taken; `index` is its place in the payload, `path` leads to it. */
export type DecodeRejection = { readonly index: number; readonly path: string; readonly detail: string };

/** A payload in any wire form as readings, and of its parts that are none the reason of each. */
export type Decoded = {
  readonly readings: readonly SubmittedReading[];
  readonly rejections: readonly DecodeRejection[];
  /** Samples whose time differs from that of another of their series below the millisecond only; the last one counts. */
  readonly collapsed: number;
};

type DecodeLimits = { readonly readings: number; readonly samples: number };

/** What a codec knows beside the payload. */
export type DecodeContext = {
  readonly limits: DecodeLimits;
  /** The device that the sender's credential or the address names. */
  readonly device?: string | undefined;
  /** Epoch milliseconds, for times that are relative. */
  readonly now: number;
};

/** A time in whole milliseconds, and the digits that were cut off behind them. */
export type SampleTime = { readonly milliseconds: number; readonly rest: string };

/** Where a sample belongs. The time of arrival stands for a time that is absent. */
type SampleAt = {
  readonly index: number;
  readonly path: string;
  readonly device: unknown;
  readonly time: SampleTime | undefined;
  /** The series as the sender names it, where its name here is made of that: two that come to one name are refused. */
  readonly series?: string;
};

/** The readings of one device and time: the last one is open. */
type Moment = {
  readonly timestamp: number | undefined;
  readonly readings: { readonly metrics: Record<string, MetricValue> }[];
  /** Metrics of the last one. */
  count: number;
  /** What was cut off the time of every sample, until that differs: then of each metric by itself. */
  readonly rest: string;
  rests?: Map<string, string>;
};

type DeviceSamples = {
  readonly id: string;
  /** The moment of the sample before, which is nearly always that of the next. */
  last: Moment | undefined;
  readonly moments: Map<number | undefined, Moment>;
  /** By metric, the series as the sender names it. */
  readonly series: Map<string, string>;
};

const deviceFault =
  'must be the id of a device: letters, digits and . _ : -, beginning with a letter or digit, at most 128';
const noDevice = 'is of no device: send the token of the device, or its id where this form has it';
const nameFault = `must have a name of letters, digits and _ . : / -, at most ${readingLimits.nameLength}, that does not begin with : or -`;

/**
 * Gathers samples into readings: those of one device and time are one, up to 64 metrics. A second value of a metric at
 * one time opens another reading, which is stored as its correction.
 */
export class ReadingSet {
  readonly #limits: DecodeLimits;
  readonly #readings: SubmittedReading[] = [];
  readonly #devices = new Map<string, DeviceSamples>();
  /** Names that are well-formed. */
  readonly #names = new Set<string>();
  readonly #rejections: DecodeRejection[] = [];
  #samples = 0;
  #collapsed = 0;

  constructor(limits: DecodeLimits) {
    this.#limits = limits;
  }

  add(at: SampleAt, name: string, value: unknown): void {
    this.#count();
    const device = this.#deviceOf(at.device);
    const fault = typeof device === 'string' ? device : this.#faultOf(device, at, name, value);
    if (typeof device === 'string' || fault !== undefined) {
      this.#rejections.push({ index: at.index, path: at.path, detail: fault as string });
      return;
    }
    const timestamp = at.time?.milliseconds;
    const known = device.last?.timestamp === timestamp ? device.last : device.moments.get(timestamp);
    const moment = known ?? {
      timestamp,
      readings: [],
      count: readingLimits.metrics,
      rest: at.time?.rest ?? '',
    };
    if (known === undefined) device.moments.set(timestamp, moment);
    else if (at.time !== undefined) this.#noteRest(moment, name, at.time.rest);
    device.last = moment;
    let metrics = moment.readings.at(-1)?.metrics;
    if (!metrics || moment.count === readingLimits.metrics || Object.hasOwn(metrics, name)) {
      if (this.#readings.length === this.#limits.readings)
        throw new OversizedPayload(this.#limits.readings, 'readings');
      metrics = {};
      moment.readings.push({ metrics });
      moment.count = 0;
      this.#readings.push({ index: at.index, deviceId: device.id, timestamp, metrics });
    }
    metrics[name] = value as MetricValue;
    moment.count += 1;
  }

  reject(index: number, path: string, detail: string): void {
    this.#count();
    this.#rejections.push({ index, path, detail });
  }

  decoded(): Decoded {
    return { readings: this.#readings, rejections: this.#rejections, collapsed: this.#collapsed };
  }

  #count(): void {
    this.#samples += 1;
    if (this.#samples > this.#limits.samples) throw new OversizedPayload(this.#limits.samples, 'samples');
  }

  /** What is wrong with it, as text, when it is no device's id. */
  #deviceOf(id: unknown): DeviceSamples | string {
    if (id === undefined) return noDevice;
    const known = this.#devices.get(id as string);
    if (known) return known;
    if (!isDeviceId(id)) return `${shown(id)} ${deviceFault}`;
    const device: DeviceSamples = { id, last: undefined, moments: new Map(), series: new Map() };
    this.#devices.set(id, device);
    return device;
  }

  #faultOf(
    device: DeviceSamples,
    { time, series }: SampleAt,
    name: string,
    value: unknown,
  ): string | undefined {
    if (!this.#names.has(name)) {
      if (!isMetricName(name)) return `${shown(name)} ${nameFault}`;
      this.#names.add(name);
    }
    if (time !== undefined && !isTimestamp(time.milliseconds))
      return timestampFault(time.milliseconds, true) ?? 'must have a time';
    if (!isMetricValue(value)) return metricValueFault(value) ?? 'must have a value';
    if (series === undefined) return undefined;
    const before = device.series.get(name);
    if (before === undefined) device.series.set(name, series);
    return before === undefined || before === series
      ? undefined
      : `has the name ${name} here, which another series of the device has as well: give them tags that differ in letters or digits`;
  }

  #noteRest(moment: Moment, name: string, rest: string): void {
    if (moment.rests === undefined) {
      if (rest === moment.rest) return;
      const names = moment.readings.flatMap(({ metrics }) => Object.keys(metrics));
      moment.rests = new Map(names.map((before) => [before, moment.rest]));
    }
    const before = moment.rests.get(name);
    if (before !== undefined && before !== rest) this.#collapsed += 1;
    moment.rests.set(name, rest);
  }
}

const shown = (value: unknown): string =>
  typeof value === 'string' ? `"${value.slice(0, 128)}"` : 'a value that is no text';

/** Epoch milliseconds of a whole number of the unit in decimal digits; `digits` of them are below the millisecond. */
export function timeOfDigits(text: string, digits: number): SampleTime {
  if (digits === 0) return { milliseconds: Number(text), rest: '' };
  const isNegative = text.startsWith('-');
  const padded = text.replace(/^-/, '').padStart(digits + 1, '0');
  const rest = padded.slice(-digits).replace(/0+$/, '');
  const whole = Number(padded.slice(0, -digits));
  const milliseconds = isNegative ? -whole - (rest === '' ? 0 : 1) : whole;
  return { milliseconds: milliseconds === 0 ? 0 : milliseconds, rest };
}

/** The name of a metric made of what others call it: what no name may have becomes `_`. */
export function metricNameOf(parts: readonly string[]): string {
  const name = parts.map((part) => part.replaceAll(/[^A-Za-z0-9_./:-]/g, '_')).join(':');
  return /^[:-]/.test(name) ? `_${name}` : name;
}

/** Names and values of a nested object, with `.` between the names: `{"a":{"b":1}}` is `a.b`. Null is left out. */
export function* valuesByName(value: unknown, prefix = '', depth = 0): Generator<readonly [string, unknown]> {
  if (value === null || value === undefined) return;
  if (typeof value !== 'object' || depth > 16) {
    yield [prefix, value];
    return;
  }
  for (const [name, member] of Object.entries(value))
    yield* valuesByName(member, prefix === '' ? name : `${prefix}.${name}`, depth + 1);
}
