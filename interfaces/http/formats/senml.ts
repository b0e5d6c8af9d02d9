import { cborOf } from './cbor-payload.ts';
import { isMembers, jsonOf } from './json-payload.ts';
import {
  type DecodeContext,
  type Decoded,
  MalformedPayload,
  ReadingSet,
  type SampleTime,
} from './reading-set.ts';

/** RFC 8428, table 4. */
const labels: Readonly<Record<string, string>> = {
  ...{ '-1': 'bver', '-2': 'bn', '-3': 'bt', '-4': 'bu', '-5': 'bv', '-6': 'bs' },
  ...{ 0: 'n', 1: 'u', 2: 'v', 3: 'vs', 4: 'vb', 5: 's', 6: 't', 7: 'ut', 8: 'vd' },
};

const newestVersion = 10;
/** Smaller numbers are seconds from now (RFC 8428, 4.5.3). */
const relativeBelow = 2 ** 28;

type SenmlRecord = Readonly<Record<string, unknown>>;

/** SenML of RFC 8428 as JSON. Throws `MalformedPayload` or `OversizedPayload`. */
export const decodeSenmlJson = (bytes: Uint8Array, context: DecodeContext): Decoded =>
  senmlReadings(jsonOf(bytes), context);

/** SenML of RFC 8428 as CBOR. */
export function decodeSenmlCbor(bytes: Uint8Array, context: DecodeContext): Decoded {
  const pack = cborOf(bytes);
  if (!Array.isArray(pack)) throw notPack();
  return senmlReadings(pack.map(namedRecord), context);
}

const notPack = (): MalformedPayload => new MalformedPayload('A SenML pack is an array of records');

function namedRecord(record: unknown): unknown {
  if (!(record instanceof Map)) return record;
  return Object.fromEntries([...record].map(([key, value]) => [labels[String(key)] ?? String(key), value]));
}

/** What holds for all records from here on. */
type Base = { name: string; time: number; value: number; sum: number };

/** Up to the last `/` or `:` the name is the device's; the rest is the metric's. */
function senmlReadings(pack: unknown, context: DecodeContext): Decoded {
  if (!Array.isArray(pack)) throw notPack();
  const set = new ReadingSet(context.limits);
  const base: Base = { name: '', time: 0, value: 0, sum: 0 };
  for (const [index, record] of pack.entries()) {
    if (!isMembers(record)) throw new MalformedPayload(`/${index} must be a record`);
    refuseUnknown(record, index);
    takeBase(base, record, index);
    addRecord(set, record, base, index, context);
  }
  return set.decoded();
}

function refuseUnknown(record: SenmlRecord, index: number): void {
  const unknown = Object.keys(record).find((name) => name.endsWith('_'));
  if (unknown !== undefined)
    throw new MalformedPayload(`/${index}/${unknown} must be understood, says its name, and is not`);
  const { bver } = record;
  if (bver !== undefined && !(Number.isInteger(bver) && (bver as number) <= newestVersion))
    throw new MalformedPayload(`/${index}/bver must be at most ${newestVersion}`);
}

function takeBase(base: Base, record: SenmlRecord, index: number): void {
  const { bn, bt, bv, bs } = record;
  if (bn !== undefined) {
    if (typeof bn !== 'string') throw new MalformedPayload(`/${index}/bn must be text`);
    base.name = bn;
  }
  base.time = numberOf(bt, base.time, `/${index}/bt`);
  base.value = numberOf(bv, base.value, `/${index}/bv`);
  base.sum = numberOf(bs, base.sum, `/${index}/bs`);
}

function numberOf(given: unknown, otherwise: number, path: string): number {
  if (given === undefined) return otherwise;
  if (typeof given !== 'number' || !Number.isFinite(given))
    throw new MalformedPayload(`${path} must be a number`);
  return given;
}

function addRecord(
  set: ReadingSet,
  record: SenmlRecord,
  base: Base,
  index: number,
  context: DecodeContext,
): void {
  const { n = '', v, vs, vb, vd, s, t } = record;
  const path = `/${index}`;
  const values = [v, vs, vb, vd].filter((value) => value !== undefined);
  if (values.length === 0 && s === undefined) {
    // A record may have base values alone.
    if (n === '' && Object.keys(record).every((name) => name.startsWith('b'))) return;
    return void set.reject(index, path, 'must have a value, v, vs, vb or vd, or a sum, s');
  }
  if (values.length > 1)
    return void set.reject(index, path, 'must have one of v, vs, vb and vd, not several');
  if (typeof n !== 'string') return void set.reject(index, `${path}/n`, 'must be text');
  if (t !== undefined && typeof t !== 'number')
    return void set.reject(index, `${path}/t`, 'must be a number');
  const name = `${base.name}${n}`;
  const cut = Math.max(name.lastIndexOf('/'), name.lastIndexOf(':'));
  const device = cut === -1 ? context.device : name.slice(0, cut);
  const metric = name.slice(cut + 1);
  const at = { index, device, time: timeOf(base.time + (t ?? 0), context.now) };
  if (values.length === 1)
    set.add({ ...at, path }, metric, typeof v === 'number' ? base.value + v : textOf(values[0]));
  if (s !== undefined)
    set.add({ ...at, path: `${path}/s` }, `${metric}.sum`, typeof s === 'number' ? base.sum + s : s);
}

/** Data in CBOR are bytes, in JSON base64url. */
const textOf = (value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('base64url') : value;

function timeOf(seconds: number, now: number): SampleTime | undefined {
  if (seconds === 0) return undefined;
  const micros = Math.round((seconds < relativeBelow ? now / 1000 + seconds : seconds) * 1e6);
  const milliseconds = Math.floor(micros / 1000);
  return {
    milliseconds,
    rest: String(micros - milliseconds * 1000)
      .padStart(3, '0')
      .replace(/0+$/, ''),
  };
}
