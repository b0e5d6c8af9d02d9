import assert from 'node:assert/strict';
import { join } from 'node:path';
import {
  type CommandConditions,
  deviceCommands,
  IdempotencyKeyReused,
  StaleRevision,
} from '../../application/devices/device-commands.ts';
import type { EventStore } from '../../application/ports/event-store.ts';
import { Rejection } from '../../domain/decider.ts';
import type { DeviceCommand } from '../../domain/device.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import { SqliteEventStore } from '../../infrastructure/sqlite/event-store.ts';
import { temporaryDirectory } from '../infrastructure/sqlite/temporary-directory.ts';

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
