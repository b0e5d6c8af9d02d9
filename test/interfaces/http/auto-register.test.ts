import assert from 'node:assert/strict';
import { intakeOf } from '../../../interfaces/http/intake.ts';
import type { Identity } from '../../../interfaces/http/request-context.ts';

describe('Devices that send and are not registered', () => {
  const key = (scopes: readonly ('devices:write' | 'telemetry:write')[]): Identity => ({
    is: 'key',
    key: { name: 'k', hash: '', scopes, only: null, createdAt: 0, expiresAt: null, revokedAt: null },
  });

  /** `known` may send; whoever is registered becomes known. */
  function fixture() {
    const known = new Set(['known']);
    const registered: string[] = [];
    const counted = { accepted: 0, rejected: 0 };
    const intake = intakeOf(
      async (readings) => {
        const accepted = readings.filter(({ deviceId }) => known.has(deviceId));
        const refused = readings
          .filter(({ deviceId }) => !known.has(deviceId))
          .map(({ index, deviceId }) => ({ index, deviceId, reason: 'unknown-device' as const }));
        const positions = accepted.map(({ index }) => ({ partition: index % 2, position: String(index) }));
        return { accepted: accepted.length, refused, positions };
      },
      { find: async () => new Map() },
      {
        accepted(count) {
          counted.accepted += count;
        },
        rejected(_, count) {
          counted.rejected += count;
        },
      },
      undefined,
      async (deviceId) => {
        registered.push(deviceId);
        if (deviceId !== 'unwilling') known.add(deviceId);
      },
    );
    const send = (identity: Identity, ...deviceIds: string[]) =>
      intake(
        {
          readings: deviceIds.map((deviceId, index) => ({
            index,
            deviceId,
            timestamp: 1,
            metrics: { a: 1 },
          })),
          rejected: [],
        },
        { identity, caller: { correlationId: 'c', actor: 'k' } },
      );
    return { send, registered, counted };
  }

  it('are registered once each for a key that may, and their readings taken in', async () => {
    const { send, registered, counted } = fixture();
    const taken = await send(
      key(['telemetry:write', 'devices:write']),
      'known',
      'new',
      'new',
      'newer',
      'unwilling',
    );
    assert.deepEqual(registered, ['new', 'newer', 'unwilling']);
    assert.deepEqual([taken.accepted, taken.rejected.map(({ index }) => index)], [4, [4]]);
    assert.deepEqual(taken.positions, [
      { partition: 0, position: '2' },
      { partition: 1, position: '3' },
    ]);
    assert.deepEqual(counted, { accepted: 4, rejected: 1 });
  });

  it('are refused to a key that may not, and to a device', async () => {
    const { send, registered } = fixture();
    assert.equal((await send(key(['telemetry:write']), 'new')).accepted, 0);
    assert.equal((await send({ is: 'device', deviceId: 'new' }, 'new')).accepted, 0);
    assert.deepEqual(registered, []);
  });
});
