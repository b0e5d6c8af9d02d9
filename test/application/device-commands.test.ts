import assert from 'node:assert/strict';
import { join } from 'node:path';
import {
  type CommandConditions,
  deviceCommands,
  IdempotencyKeyReused,
  StaleRevision,
} from '../../application/devices/device-commands.ts';
import { deviceHistory } from '../../application/devices/device-stream.ts';
import type { EventStore } from '../../application/ports/event-store.ts';
import { Rejection } from '../../domain/decider.ts';
import type { DeviceCommand } from '../../domain/device.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import { SqliteEventStore } from '../../infrastructure/sqlite/event-store.ts';
import { newEvent } from '../contracts/event-store.contract.ts';
import { temporaryDirectory } from '../infrastructure/sqlite/temporary-directory.ts';

/** As a node whose clock is behind recorded it. */
const older = { ...newEvent({}).metadata, recordedAt: '1970-01-01T00:00:04.000Z' };

const details = { name: 'Boiler', type: 'boiler', labels: {} };
const registration = { type: 'RegisterDevice', deviceId: 'boiler-1', details } as const;

describe('Device commands', () => {
  let folder: ReturnType<typeof temporaryDirectory>;
  let store: SqliteEventStore;
  let calls: string[];

  beforeEach(() => {
    folder = temporaryDirectory();
    store = new SqliteEventStore(join(folder.path, 'events.db'));
    calls = [];
  });
  afterEach(async () => {
    await store.close();
    folder.remove();
  });

  const watched: EventStore = {
    read(stream) {
      calls.push('read');
      return store.read(stream);
    },
    isDeleted: async () => false,
    append(stream, events, expected) {
      calls.push('append');
      return store.append(stream, events, expected);
    },
  };
  const handle = (command: DeviceCommand, context: Partial<CommandConditions> = {}) =>
    deviceCommands(watched, eventRegistry, uuidIds, { now: Date.now }, () => {}).handle(command, {
      correlationId: 'c',
      actor: 'test',
      ...context,
    });
  const refusedAs = (code: string) => (error: unknown) => error instanceof Rejection && error.code === code;

  it('are recorded no earlier than what they follow, and a device at a time has all that came before', async () => {
    const at = (now: number) => deviceCommands(store, eventRegistry, uuidIds, { now: () => now }, () => {});
    const context = { correlationId: 'c', actor: 'test' };
    await at(5_000).handle(registration, context);
    const { device } = await at(4_500).handle(
      { type: 'SuspendDevice', deviceId: 'boiler-1', reason: 'r' },
      context,
    );
    assert.equal(device.updatedAt, '1970-01-01T00:00:05.000Z');
    await store.append(
      'device-boiler-1',
      [{ ...newEvent({ deviceId: 'boiler-1' }), type: 'DeviceReinstated', metadata: older }],
      1,
    );
    const { deviceAt } = deviceHistory(store, eventRegistry);
    const statusAt = async (time: number) => (await deviceAt('boiler-1', { time }))?.device.status;
    assert.deepEqual([await statusAt(4_200), await statusAt(3_999)], ['active', undefined]);
  });

  it('register a device with one call to the event store', async () => {
    const { device, position, wasReplayed: repeated } = await handle(registration);
    assert.deepEqual(calls, ['append']);
    assert.equal(repeated, false);
    const [stored] = await store.read('device-boiler-1');
    assert.deepEqual([device.name, device.revision, position], ['Boiler', 0, stored?.position]);
  });

  it('refuse to register a device a second time, also one that is decommissioned', async () => {
    await handle(registration);
    await assert.rejects(handle(registration), refusedAs('DeviceAlreadyRegistered'));
    await handle({ type: 'DecommissionDevice', deviceId: 'boiler-1', reason: 'gone' });
    await assert.rejects(handle(registration), refusedAs('DeviceAlreadyRegistered'));
    assert.equal((await store.read('device-boiler-1')).length, 2);
  });

  it('register a device once, however many try at the same time', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => handle(registration)));
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    assert.equal(refused.length, 7);
    for (const { reason } of refused) assert.ok(refusedAs('DeviceAlreadyRegistered')(reason));
    assert.equal((await store.read('device-boiler-1')).length, 1);
  });

  it('hold a registration against the revision that the caller names', async () => {
    await handle(registration, { expectedRevision: 3 });
    await assert.rejects(handle(registration, { expectedRevision: 3 }), StaleRevision);
    await assert.rejects(handle(registration, { expectedRevision: 0 }), refusedAs('DeviceAlreadyRegistered'));
  });

  it('answer a repeated key as the first time, also when both come at once and after changes', async () => {
    const keyed = { idempotencyKey: 'k' };
    const [one, other] = await Promise.all([handle(registration, keyed), handle(registration, keyed)]);
    assert.deepEqual([one.device, one.position], [other.device, other.position]);
    await handle({ type: 'SuspendDevice', deviceId: 'boiler-1', reason: 'r' });
    const again = await handle(registration, keyed);
    assert.deepEqual(again, { device: one.device, position: one.position, wasReplayed: true });
    assert.equal((await store.read('device-boiler-1')).length, 2);
  });

  it('that change nothing are known again by their key, whatever has happened since', async () => {
    const reinstate = { type: 'ReinstateDevice', deviceId: 'boiler-1' } as const;
    const keyed = { idempotencyKey: 'k' };
    await handle(registration);
    const first = await handle(reinstate, keyed);
    await handle({ type: 'SuspendDevice', deviceId: 'boiler-1', reason: 'r' });
    assert.deepEqual(await handle(reinstate, keyed), { ...first, wasReplayed: true });
    const now = await handle({ type: 'SuspendDevice', deviceId: 'boiler-1', reason: 'r' });
    assert.equal(now.device.status, 'suspended');
    await assert.rejects(
      handle({ type: 'DecommissionDevice', deviceId: 'boiler-1', reason: 'r' }, keyed),
      IdempotencyKeyReused,
    );
    await handle({ type: 'DecommissionDevice', deviceId: 'boiler-1', reason: 'r' });
    const gone = { type: 'DecommissionDevice', deviceId: 'boiler-1', reason: 'again' } as const;
    const { revision } = (await handle(gone, { idempotencyKey: 'l' })).device;
    assert.equal((await handle(gone, { idempotencyKey: 'l' })).device.revision, revision);
  });

  it('know a key whatever the order of names in the request', async () => {
    const labelled = (labels: Record<string, string>) =>
      ({ ...registration, details: { ...details, labels } }) as const;
    const first = await handle(labelled({ a: '1', b: '2' }), { idempotencyKey: 'k' });
    const again = await handle(labelled({ b: '2', a: '1' }), { idempotencyKey: 'k' });
    assert.deepEqual(again, { ...first, wasReplayed: true });
    await assert.rejects(handle(labelled({ a: '2', b: '1' }), { idempotencyKey: 'k' }), IdempotencyKeyReused);
  });

  it('know a key of each caller, and those of releases before', async () => {
    await handle(registration);
    const suspend = { type: 'SuspendDevice', deviceId: 'boiler-1', reason: 'r' } as const;
    const mine = await handle(suspend, { idempotencyKey: 'k', actor: 'ada' });
    await handle({ type: 'ReinstateDevice', deviceId: 'boiler-1' });
    const other = await handle(suspend, { idempotencyKey: 'k', actor: 'bob' });
    assert.deepEqual([other.wasReplayed, other.device.status], [false, 'suspended']);
    assert.equal((await handle(suspend, { idempotencyKey: 'k', actor: 'ada' })).position, mine.position);

    const stream = 'device-boiler-1';
    const change = { type: 'ChangeDeviceDetails', deviceId: 'boiler-1', changes: { name: 'New' } } as const;
    const [stored] = await store.read(stream);
    assert.ok(stored);
    await store.append(
      stream,
      [
        {
          id: uuidIds.uuidV7(),
          type: 'DeviceDetailsChanged',
          data: { deviceId: 'boiler-1', name: 'New' },
          metadata: {
            ...stored.metadata,
            $causationId: uuidIds.uuidV5(stream, 'old'),
            commandDigest: uuidIds.digest(JSON.stringify(change)),
          },
        },
      ],
      other.device.revision,
    );
    assert.equal((await handle(change, { idempotencyKey: 'old' })).wasReplayed, true);
    assert.equal((await handle(change, { idempotencyKey: 'old', actor: 'bob' })).wasReplayed, false);
  });

  it('refuse a key that another request uses at the same moment', async () => {
    const keyed = { idempotencyKey: 'k' };
    const other = { ...registration, details: { ...details, name: 'Pump' } };
    const both = await Promise.allSettled([handle(registration, keyed), handle(other, keyed)]);
    assert.deepEqual(
      both.map((outcome) => outcome.status === 'fulfilled' && outcome.value.device.name),
      ['Boiler', false],
    );
    await assert.rejects(handle(other, keyed), IdempotencyKeyReused);
  });
});
