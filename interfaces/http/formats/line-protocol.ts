import { isExact } from '../../exact-json.ts';
import { textOf } from './json-payload.ts';
import {
  type DecodeContext,
  type Decoded,
  metricNameOf,
  OversizedPayload,
  ReadingSet,
  type SampleTime,
  timeOfDigits,
} from './reading-set.ts';

/** Digits below the millisecond, or what a number is multiplied by. */
const precisions = {
  ns: { digits: 6, factor: 1 },
  n: { digits: 6, factor: 1 },
  us: { digits: 3, factor: 1 },
  u: { digits: 3, factor: 1 },
  µ: { digits: 3, factor: 1 },
  ms: { digits: 0, factor: 1 },
  s: { digits: 0, factor: 1000 },
  m: { digits: 0, factor: 60_000 },
  h: { digits: 0, factor: 3_600_000 },
} as const;

export type LinePrecision = keyof typeof precisions;

export const linePrecisions = Object.keys(precisions) as [LinePrecision, ...LinePrecision[]];

type LineOptions = {
  readonly precision: LinePrecision;
  /** The tag that names the device; `device`, or else `host`, when absent. */
  readonly deviceTag?: string | undefined;
};

/** How far a text value may reach: one whose quotation mark is missing must not swallow the lines behind it. */
const longestText = 4096;

/**
 * InfluxDB's line protocol. The metric is `measurement.field`, and behind it the values of all tags but the device's,
 * in order of the tags' names: `cpu.usage_idle:cpu-total`. A line that is malformed is rejected by itself; so is one
 * field. Throws `MalformedPayload` for what is not UTF-8, `OversizedPayload` for too much.
 */
export function decodeLines(
  bytes: Uint8Array,
  context: DecodeContext,
  { precision, deviceTag }: LineOptions,
): Decoded {
  const text = textOf(bytes);
  const set = new ReadingSet(context.limits);
  const metrics = new MetricNames();
  let index = 0;
  for (let start = 0; start < text.length; ) {
    const end = lineEnd(text, start);
    const line = text.slice(start, text[end - 1] === '\r' ? end - 1 : end);
    start = end + 1;
    const first = line.trimStart()[0];
    if (first === undefined || first === '#') continue;
    if (index === context.limits.samples) throw new OversizedPayload(context.limits.samples, 'lines');
    addLine(line.trim(), index);
    index += 1;
  }
  return set.decoded();

  function addLine(line: string, index: number): void {
    const path = `/${index}`;
    const parsed = parseLine(line);
    if (typeof parsed === 'string') return void set.reject(index, path, parsed);
    const { measurement, tags, fields, time } = parsed;
    const at = time === '' ? undefined : timeOf(time, precision);
    if (at === 'malformed')
      return void set.reject(index, path, `has "${time.slice(0, 40)}" where a whole number is its time`);
    const named = deviceTag ?? (tags.has('device') ? 'device' : 'host');
    const device = namesDevice(named) ? tags.get(named) : context.device;
    const names = metrics.of(measurement, tags, named);
    for (const [field, value] of fields) {
      const { name, series } = names(field);
      set.add({ index, path: `${path}/${field}`, device, time: at, series }, name, fieldValue(value));
    }
  }

  /** A host name is no statement of a device where the credential names one. */
  function namesDevice(tag: string): boolean {
    return context.device === undefined || tag !== 'host' || deviceTag === 'host';
  }
}

const [space, quote, comma, hash, equals, backslash] = [0x20, 0x22, 0x2c, 0x23, 0x3d, 0x5c] as const;

type MetricName = { readonly name: string; readonly series: string };

/** The metrics' names of a payload, each made once: its lines differ in devices and times, and little else. */
class MetricNames {
  readonly #byTags = new Map<string, Map<string, MetricName>>();

  /** Of the fields of a measurement and all its tags but the one that names the device. */
  of(
    measurement: string,
    tags: ReadonlyMap<string, string>,
    deviceTag: string,
  ): (field: string) => MetricName {
    const others = tags.size === 1 && tags.has(deviceTag) ? [] : othersOf(tags, deviceTag);
    // As JSON, so that no two lists come to one text, whatever is in them.
    const tagged = JSON.stringify([measurement, ...others.flat()]);
    const byField = this.#byTags.get(tagged) ?? new Map<string, MetricName>();
    if (byField.size === 0) this.#byTags.set(tagged, byField);
    return (field) => {
      let named = byField.get(field);
      if (!named) {
        const parts = [`${measurement}.${field}`, ...others.map(([, value]) => value)];
        named = { name: metricNameOf(parts), series: `${tagged} ${field}` };
        byField.set(field, named);
      }
      return named;
    };
  }
}

const othersOf = (tags: ReadonlyMap<string, string>, deviceTag: string) =>
  [...tags].filter(([name]) => name !== deviceTag).sort(([a], [b]) => (a < b ? -1 : 1));

/** Up to the newline that stands in no text value. */
function lineEnd(text: string, start: number): number {
  let newline = orEnd(text, text.indexOf('\n', start));
  if (text.charCodeAt(start) === hash) return newline;
  for (let at = unescaped(text, start, newline, space); at < newline; at += 1) {
    if (text.charCodeAt(at) !== quote) continue;
    const closing = closingQuote(text, at + 1);
    if (closing === -1) return newline;
    if (closing > newline) newline = orEnd(text, text.indexOf('\n', closing));
    at = closing;
  }
  return newline;
}

const orEnd = (text: string, at: number): number => (at === -1 ? text.length : at);

function closingQuote(text: string, from: number): number {
  const most = Math.min(text.length, from + longestText);
  for (let i = from; i < most; i += 1) {
    const code = text.charCodeAt(i);
    if (code === backslash) i += 1;
    else if (code === quote) return i;
  }
  return -1;
}

/** Where one or the other character stands without an escape before it; `end` when neither does. */
function unescaped(text: string, start: number, end: number, one: number, other = one): number {
  for (let i = start; i < end; i += 1) {
    const code = text.charCodeAt(i);
    if (code === backslash) i += 1;
    else if (code === one || code === other) return i;
  }
  return end;
}

type Line = {
  readonly measurement: string;
  readonly tags: ReadonlyMap<string, string>;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly time: string;
};

/** What is wrong with the line, as text, when it is none. */
function parseLine(line: string): Line | string {
  const head = unescaped(line, 0, line.length, space);
  if (head === line.length) return 'has no field: a line is measurement,tag=value field=value time';
  const nameEnd = unescaped(line, 0, head, comma);
  if (nameEnd === 0) return 'has no measurement';
  const tags = new Map<string, string>();
  for (let at = nameEnd + 1; at <= head && nameEnd < head; ) {
    const end = unescaped(line, at, head, comma);
    const sign = unescaped(line, at, end, equals);
    if (sign === at || sign >= end - 1)
      return `has the tag "${line.slice(at, end).slice(0, 64)}", which is no name=value`;
    tags.set(plain(line.slice(at, sign)), plain(line.slice(sign + 1, end)));
    at = end + 1;
  }
  let at = head + 1;
  while (line.charCodeAt(at) === space) at += 1;
  const fields: [string, string][] = [];
  for (;;) {
    const sign = unescaped(line, at, line.length, equals);
    if (sign === at || sign >= line.length - 1) return 'has a field that is no name=value';
    const end = valueEnd(line, sign + 1);
    if (end === -1) return 'has a text value without its closing quotation mark';
    fields.push([plain(line.slice(at, sign)), line.slice(sign + 1, end)]);
    at = end + 1;
    if (line.charCodeAt(end) !== comma) break;
  }
  return { measurement: plain(line.slice(0, nameEnd)), tags, fields, time: line.slice(at).trim() };
}

/** Where the value that begins at `start` ends; -1 when its quotation marks do not match. */
function valueEnd(line: string, start: number): number {
  if (line.charCodeAt(start) !== quote) return unescaped(line, start, line.length, comma, space);
  const closing = closingQuote(line, start + 1);
  if (closing === -1) return -1;
  const next = line[closing + 1];
  return next === undefined || next === ',' || next === ' ' ? closing + 1 : -1;
}

const plain = (text: string): string => (text.includes('\\') ? text.replaceAll(/\\([,= \\])/g, '$1') : text);

const numberForm = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const integerForm = /^[+-]?\d+[iu]$/;
const booleans: Readonly<Record<string, boolean>> = {
  ...{ t: true, T: true, true: true, True: true, TRUE: true },
  ...{ f: false, F: false, false: false, False: false, FALSE: false },
};

/** What no value can be comes as something that no metric may be, and is refused as such. */
function fieldValue(text: string): unknown {
  if (numberForm.test(text)) return Number(text);
  if (text.startsWith('"')) return text.slice(1, -1).replaceAll(/\\(["\\])/g, '$1');
  if (Object.hasOwn(booleans, text)) return booleans[text];
  if (integerForm.test(text)) {
    const digits = text.slice(0, -1);
    return isExact(digits, Number(digits)) ? Number(digits) : BigInt(digits);
  }
  return undefined;
}

function timeOf(text: string, precision: LinePrecision): SampleTime | 'malformed' {
  if (!/^[+-]?\d{1,19}$/.test(text)) return 'malformed';
  const { digits, factor } = precisions[precision];
  const time = timeOfDigits(text.replace(/^\+/, ''), digits);
  return factor === 1 ? time : { milliseconds: time.milliseconds * factor, rest: '' };
}
