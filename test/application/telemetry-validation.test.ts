import assert from 'node:assert/strict';
import type { DirectoryEntry } from '../../application/ports/device-directory.ts';
import type { TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { telemetryProjection } from '../../application/projections/telemetry.ts';
import type { DeviceRetention } from '../../domain/retention.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';

const sensor = { status: 'active', types: [{ type: 'sensor', from: 0 }] } as unknown as DirectoryEntry;
const meter = { status: 'active', types: [{ type: 'meter', from: 0 }] } as unknown as DirectoryEntry;
const retention = { of: 'sensors' } as unknown as DeviceRetention;

const recorded = (deviceId: string, position: number): TelemetryRecord => ({
  id: `id-${position}`,
  type: 'TelemetryRecorded',
  schemaVersion: 1,
  position: String(position),
  receivedAt: position,
  correlationId: 'c',
  actor: 'test',
  data: { deviceId, timestamp: position, metrics: { temp: 20 } },
});

/** Validates readings of these devices; `cached` are known without asking. */
async function validate(
  deviceIds: readonly string[],
  cached: Readonly<Record<string, DirectoryEntry>>,
  found: Readonly<Record<string, DirectoryEntry>> = {},
) {
  const lookUps: string[][] = [];
  const projection = telemetryProjection(
    eventRegistry,
    {
      peek: (deviceId) => cached[deviceId],
      async find(ids) {
        lookUps.push([...ids]);
        return new Map(Object.entries(found).filter(([id]) => ids.has(id)));
      },
    },
    {
      refresh: async () => {},
      hasPolicy: true,
      forDevice: (types) => (types.some(({ type }) => type === 'sensor') ? retention : undefined),
    },
    async () => (deviceId) => (deviceId === 'elsewhere' ? 7 : 3),
  );
  const decoded = deviceIds.map((deviceId, i) => projection.decode(recorded(deviceId, i)));
  const before = structuredClone(decoded);
  const validated = await projection.forPartition().validate?.(decoded, 3);
  assert.ok(validated);
  assert.deepEqual(decoded, before, 'validation changed its input');
  return { ...validated, decoded, lookUps };
}

describe('Validation of telemetry events', () => {
  it('accepts the events of known devices without a lookup or a copy', async () => {
    const { accepted, rejected, decoded, lookUps } = await validate(['m', 'm'], { m: meter });
    assert.equal(accepted, decoded);
    assert.deepEqual([rejected.size, lookUps], [0, []]);
  });

  it('adds the retention of a device, and changes none of its input', async () => {
    const { accepted, decoded } = await validate(['s', 'm', 't'], { m: meter, s: sensor }, { t: sensor });
    assert.deepEqual(
      accepted.map((one) => one.retention),
      [retention, undefined, retention],
    );
    assert.deepEqual(
      accepted.map(({ logged }) => logged.position),
      decoded.map(({ logged }) => logged.position),
    );
  });

  it('rejects the events of devices that are not registered, and asks for each device once', async () => {
    const { accepted, rejected, decoded, lookUps } = await validate(['x', 'm', 'x', 'y'], { m: meter });
    assert.deepEqual(accepted, [decoded[1]]);
    assert.deepEqual([...rejected.keys()], [decoded[0], decoded[2], decoded[3]]);
    assert.deepEqual(rejected.get(decoded[3] as never), {
      cause: 'unknown-device',
      error: 'Device y is not registered',
    });
    assert.deepEqual(lookUps, [['x', 'y']]);
  });

  it('rejects the events of devices that have another partition, and says which', async () => {
    const { accepted, rejected, decoded } = await validate(['m', 'elsewhere'], {
      m: meter,
      elsewhere: meter,
    });
    assert.deepEqual(accepted, [decoded[0]]);
    const { cause, error } = rejected.get(decoded[1] as never) ?? {};
    assert.equal(cause, 'wrong-partition');
    assert.match(error ?? '', /elsewhere is in partition 3.*belong in 7/);
  });
});
