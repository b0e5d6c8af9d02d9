import type { Metrics, Reading } from '../../domain/telemetry/reading.ts';
import { addPoint, bucketOf, rollupLevels } from '../../domain/telemetry/rollup.ts';
import type {
  LedgerCounts,
  LedgerKey,
  ReadingKey,
  ReadingRow,
  RollupKey,
  TelemetryTables,
} from '../ports/read-models.ts';
import type { LoggedTelemetry } from '../ports/telemetry-log.ts';
import type { CachedDevice, TelemetryCache } from './telemetry-cache.ts';
import { rebuildRollups } from './telemetry-rollups.ts';

export type ReadingFact = { readonly logged: LoggedTelemetry; readonly reading: Reading };

type RowInHand = { row: ReadingRow; isNew: boolean; changed: boolean };

/** A batch under way: the devices it speaks of, the rows it has in its hands and the buckets it changes. */
type Recording = {
  readonly devices: Map<string, CachedDevice>;
  readonly rows: Map<CachedDevice, Map<number, RowInHand>>;
  readonly touched: Map<string, RollupKey>;
  /** Minutes in which a value was replaced: their rollups cannot be told by adding. */
  readonly corrected: Map<string, ReadingKey>;
};

/** Stores readings that come in log order; the tables then say what the set of all readings so far says. */
export async function recordReadings(
  facts: readonly ReadingFact[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const recording = await open(facts, cache, tables);
  const fates = facts.map(({ logged, reading }) => ({
    deviceId: reading.deviceId,
    receivedAt: logged.receivedAt,
    as: place(reading, logged, recording),
  }));
  await write(recording, tables);
  for (const { deviceId, timestamp } of recording.corrected.values()) {
    await rebuildRollups(deviceId, timestamp, timestamp + 1, tables);
    dropBuckets(recording.devices.get(deviceId), timestamp);
  }
  await countLedger(fates, cache, tables);
}

/** Brings everything the batch will touch into hand, asking only for what cannot be known. */
async function open(
  facts: readonly ReadingFact[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<Recording> {
  const devices = await loadDevices(new Set(facts.map(({ reading }) => reading.deviceId)), cache, tables);
  const recording: Recording = { devices, rows: new Map(), touched: new Map(), corrected: new Map() };
  for (const device of devices.values()) recording.rows.set(device, new Map());
  const keys: ReadingKey[] = [];
  const buckets = new Map<string, RollupKey>();

  for (const { reading } of facts) {
    const device = devices.get(reading.deviceId) as CachedDevice;
    if (reading.timestamp <= device.lastAt) keys.push(reading);
    for (const level of rollupLevels) {
      const bucket = bucketOf(level, reading.timestamp);
      if (device.buckets[level].has(bucket)) continue;
      device.buckets[level].set(bucket, new Map());
      if (bucket <= device.lastAt)
        buckets.set(`${level} ${bucket} ${reading.deviceId}`, { deviceId: reading.deviceId, level, bucket });
    }
  }

  for (const row of await tables.readings(unique(keys)))
    recording.rows
      .get(devices.get(row.deviceId) as CachedDevice)
      ?.set(row.timestamp, { row, isNew: false, changed: false });
  for (const { deviceId, level, bucket, metrics } of await tables.rollups([...buckets.values()]))
    devices.get(deviceId)?.buckets[level].set(bucket, new Map(metrics));
  return recording;
}

async function loadDevices(
  deviceIds: ReadonlySet<string>,
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<Map<string, CachedDevice>> {
  const missing = [...deviceIds].filter((id) => !cache.get(id));
  const rows = new Map((await tables.latest(missing)).map((row) => [row.deviceId, row]));
  for (const id of missing) cache.add(id, rows.get(id));
  return new Map([...deviceIds].map((id) => [id, cache.get(id) as CachedDevice]));
}

/** Puts one reading where it belongs and says what became of it. */
function place(
  { deviceId, timestamp, metrics }: Reading,
  logged: ReadingFact['logged'],
  recording: Recording,
): keyof LedgerCounts {
  const device = recording.devices.get(deviceId) as CachedDevice;
  const rows = recording.rows.get(device) as Map<number, RowInHand>;
  const held = rows.get(timestamp);
  if (!held) {
    const { receivedAt, correlationId, position } = logged;
    const row = { deviceId, timestamp, metrics, receivedAt, correlationId, position, correctedBy: null };
    rows.set(timestamp, { row, isNew: true, changed: true });
    if (timestamp > device.lastAt) device.lastAt = timestamp;
    for (const name in metrics) add(device, name, metrics[name] as Metrics[string], timestamp, recording);
    return 'stored';
  }

  let changed = false;
  const merged: Record<string, Metrics[string]> = { ...held.row.metrics };
  for (const name in metrics) {
    const value = metrics[name] as Metrics[string];
    if (!Object.hasOwn(merged, name)) add(device, name, value, timestamp, recording);
    else if (merged[name] !== value) correct(device, name, value, timestamp, recording);
    else continue;
    merged[name] = value;
    changed = true;
  }
  if (!changed) return 'duplicate';
  held.row = { ...held.row, metrics: merged, correctedBy: logged.correlationId };
  held.changed = true;
  return 'corrected';
}

function add(
  device: CachedDevice,
  name: string,
  value: Metrics[string],
  timestamp: number,
  recording: Recording,
): void {
  keepLatest(device, name, value, timestamp);
  for (const level of rollupLevels) {
    const bucket = bucketOf(level, timestamp);
    const metrics = device.buckets[level].get(bucket) as Map<string, ReturnType<typeof addPoint>>;
    metrics.set(name, addPoint(metrics.get(name), value, timestamp));
    touch(device, level, bucket, recording);
  }
}

function correct(
  device: CachedDevice,
  name: string,
  value: Metrics[string],
  timestamp: number,
  { corrected }: Recording,
): void {
  keepLatest(device, name, value, timestamp);
  const minute = bucketOf('1m', timestamp);
  corrected.set(`${minute} ${device.deviceId}`, { deviceId: device.deviceId, timestamp: minute });
}

function keepLatest(device: CachedDevice, name: string, value: Metrics[string], timestamp: number): void {
  const newest = device.latest.get(name);
  if (!newest || timestamp >= newest[1]) device.latest.set(name, [value, timestamp]);
}

function touch(
  { deviceId }: CachedDevice,
  level: RollupKey['level'],
  bucket: number,
  { touched }: Recording,
): void {
  const key = `${level} ${bucket} ${deviceId}`;
  if (!touched.has(key)) touched.set(key, { deviceId, level, bucket });
}

async function write({ devices, rows, touched }: Recording, tables: TelemetryTables): Promise<void> {
  const inHand = [...rows.values()].flatMap((ofDevice) => [...ofDevice.values()]);
  await tables.write({
    inserted: inHand
      .filter((held) => held.isNew)
      .map((held) => held.row)
      .sort(byKey),
    replaced: inHand
      .filter((held) => held.changed && !held.isNew)
      .map((held) => held.row)
      .sort(byKey),
    latest: [...devices.values()].map(({ deviceId, lastAt, latest }) => ({
      deviceId,
      timestamp: lastAt,
      metrics: latest,
    })),
    rollups: [...touched.values()].map((key) => ({
      ...key,
      metrics: devices.get(key.deviceId)?.buckets[key.level].get(key.bucket) ?? new Map(),
    })),
  });
}

/** Counts what became of readings, by device and day of arrival. */
export async function countLedger(
  fates: readonly {
    readonly deviceId: string;
    readonly receivedAt: number;
    readonly as: keyof LedgerCounts;
  }[],
  cache: TelemetryCache,
  tables: TelemetryTables,
): Promise<void> {
  const devices = await loadDevices(new Set(fates.map(({ deviceId }) => deviceId)), cache, tables);
  const touched = new Map<string, LedgerKey>();
  for (const { deviceId, receivedAt } of fates) {
    const day = bucketOf('1d', receivedAt);
    touched.set(`${day} ${deviceId}`, { deviceId, day });
  }
  const unknown = [...touched.values()].filter(
    ({ deviceId, day }) => !devices.get(deviceId)?.ledger.has(day),
  );
  for (const { deviceId, day, ...counts } of await tables.ledger(unknown))
    devices.get(deviceId)?.ledger.set(day, counts);

  for (const { deviceId, receivedAt, as } of fates) {
    const { ledger } = devices.get(deviceId) as CachedDevice;
    const day = bucketOf('1d', receivedAt);
    const counts = ledger.get(day) ?? nothingYet;
    ledger.set(day, { ...counts, [as]: counts[as] + 1 });
  }
  await tables.write({
    ledger: [...touched.values()].map((key) => ({
      ...key,
      ...(devices.get(key.deviceId)?.ledger.get(key.day) ?? nothingYet),
    })),
  });
}

const nothingYet: LedgerCounts = { stored: 0, duplicate: 0, corrected: 0, deadLettered: 0, retracted: 0 };

/** The rollups of that moment are to be read again when they are needed. */
export function dropBuckets(device: CachedDevice | undefined, timestamp: number): void {
  for (const level of rollupLevels) device?.buckets[level].delete(bucketOf(level, timestamp));
}

/** In the order the tables keep them, which is the order they are cheapest to write in. */
function byKey(a: ReadingKey, b: ReadingKey): number {
  return a.deviceId === b.deviceId ? a.timestamp - b.timestamp : a.deviceId < b.deviceId ? -1 : 1;
}

function unique(keys: readonly ReadingKey[]): readonly ReadingKey[] {
  return [...new Map(keys.map((key) => [`${key.timestamp} ${key.deviceId}`, key])).values()];
}
