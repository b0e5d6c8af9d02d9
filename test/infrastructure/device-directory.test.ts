import assert from 'node:assert/strict';
import { join } from 'node:path';
import { deviceCommands } from '../../application/devices/device-commands.ts';
import type { DeviceDirectory } from '../../application/ports/device-directory.ts';
import { OperatorNeeded } from '../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../application/ports/event-store.ts';
import { deviceStream } from '../../domain/device.ts';
import { CachedDeviceDirectory } from '../../infrastructure/cached-device-directory.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import { sqliteEventSource } from '../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../infrastructure/sqlite/event-store.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from './sqlite/temporary-directory.ts';

const context = { correlationId: 'c', actor: 'test' };

describe('Device directory', () => {
  let folder: ReturnType<typeof temporaryDirectory>;
  let file: string;
  let eventStore: SqliteEventStore;
  let directory: CachedDeviceDirectory;

  beforeEach(() => {
    folder = temporaryDirectory();
    file = join(folder.path, 'events.db');
    eventStore = new SqliteEventStore(file);
    directory = new CachedDeviceDirectory(eventStore, eventRegistry, 100);
  });
  afterEach(async () => {
    await eventStore.close();
    folder.remove();
  });

  const statusIn = async (where: DeviceDirectory, id: string) =>
    (await where.find(new Set([id]))).get(id)?.status;
  const commands = (changed: (id: string, revision: number) => void = () => {}) =>
    deviceCommands(eventStore, eventRegistry, uuidIds, { now: Date.now }, changed);
  const register = (deviceId: string) =>
    commands().handle(
      { type: 'RegisterDevice', deviceId, details: { name: deviceId, type: 't', labels: {} } },
      context,
    );

  it('knows a device from the moment it is registered, wherever that was', async () => {
    assert.equal(await statusIn(directory, 'a'), undefined);
    await register('a');
    assert.equal(await statusIn(directory, 'a'), 'active');
  });

  it('knows a device that was registered while it was being read for somebody else', async () => {
    const gate = Promise.withResolvers<void>();
    const slow = new CachedDeviceDirectory(
      {
        async read(stream) {
          const events = await eventStore.read(stream);
          await gate.promise;
          return events;
        },
        isDeleted: async () => false,
        append: (stream, events, expected) => eventStore.append(stream, events, expected),
      },
      eventRegistry,
      100,
    );
    const early = statusIn(slow, 'a');
    await register('a');
    const late = statusIn(slow, 'a');
    gate.resolve();
    assert.deepEqual(await Promise.all([early, late]), [undefined, 'active']);
  });

  it('finds the registered ones among many', async () => {
    const ids = Array.from({ length: 150 }, (_, i) => `d-${i}`);
    await Promise.all(ids.filter((_, i) => i % 2 === 0).map(register));
    const found = await directory.find(new Set(ids));
    assert.deepEqual(new Set(found.keys()), new Set(ids.filter((_, i) => i % 2 === 0)));
  });

  it('reads each device once while it stays as it is', async () => {
    await register('a');
    let reads = 0;
    const counting = new CachedDeviceDirectory(
      {
        read: (stream) => {
          reads += 1;
          return eventStore.read(stream);
        },
        isDeleted: async () => false,
        append: (stream, events, expected) => eventStore.append(stream, events, expected),
      },
      eventRegistry,
      100,
    );
    await Promise.all([statusIn(counting, 'a'), statusIn(counting, 'a')]);
    await statusIn(counting, 'a');
    assert.equal(reads, 1);
  });

  it('remembers what it has read, and nothing of what is not registered', async () => {
    await register('a');
    await directory.find(new Set(['a', 'b']));
    assert.deepEqual(
      ['a', 'b', 'c'].map((id) => directory.peek(id)?.status),
      ['active', undefined, undefined],
    );
    directory.changed('a', 1);
    assert.equal(directory.peek('a'), undefined);
  });

  it('forgets at once what this node changes', async () => {
    await register('a');
    await statusIn(directory, 'a');
    await commands((id, revision) => directory.changed(id, revision)).handle(
      { type: 'SuspendDevice', deviceId: 'a', reason: 'r' },
      context,
    );
    assert.equal(await statusIn(directory, 'a'), 'suspended');
  });

  it('learns within a moment what other nodes change', async () => {
    await register('a');
    const source = sqliteEventSource(file);
    const stopped = new AbortController();
    const following = directory.follow(source, 'directory', stopped.signal);
    assert.equal(await statusIn(directory, 'a'), 'active');
    await commands().handle({ type: 'DecommissionDevice', deviceId: 'a', reason: 'r' }, context);
    await eventually(async () => assert.equal(await statusIn(directory, 'a'), 'decommissioned'), {
      within: 1000,
    });
    stopped.abort();
    await following;
    await source.close();
  });

  describe('that hears of a registration', () => {
    let hear: (events: readonly RecordedEvent[]) => Promise<void>;
    let stop: () => Promise<void>;

    async function follow(): Promise<void> {
      const begun = Promise.withResolvers<typeof hear>();
      const ended = Promise.withResolvers<void>();
      const stopped = new AbortController();
      const source: Parameters<CachedDeviceDirectory['follow']>[0] = {
        ends: async () => new Map([[0, null]]),
        async run(consumer) {
          await consumer.checkpoint(0);
          begun.resolve((events) => consumer.consume({ partition: 0, after: null, events }));
          await ended.promise;
        },
      };
      const following = directory.follow(source, 'directory', stopped.signal);
      stop = async () => {
        stopped.abort();
        ended.resolve();
        await following;
      };
      hear = await begun.promise;
    }
    const eventsOf = (id: string) => eventStore.read(deviceStream(id));
    const suspend = (deviceId: string, changed?: Parameters<typeof commands>[0]) =>
      commands(changed).handle({ type: 'SuspendDevice', deviceId, reason: 'r' }, context);

    afterEach(() => stop());

    it('knows the device without reading its stream, until it changes', async () => {
      await follow();
      await register('a');
      await hear(await eventsOf('a'));
      const read = new CachedDeviceDirectory(eventStore, eventRegistry, 100);
      assert.deepEqual(directory.peek('a'), (await read.find(new Set(['a']))).get('a'));
      await suspend('a');
      await hear((await eventsOf('a')).slice(1));
      assert.equal(directory.peek('a'), undefined);
      assert.equal(await statusIn(directory, 'a'), 'suspended');
    });

    it('keeps to what this node has changed meanwhile', async () => {
      await follow();
      await register('a');
      await suspend('a', (id, revision) => directory.changed(id, revision));
      await hear((await eventsOf('a')).slice(0, 1));
      assert.equal(directory.peek('a'), undefined);
      assert.equal(await statusIn(directory, 'a'), 'suspended');
    });

    it('puts no other device aside', async () => {
      directory = new CachedDeviceDirectory(eventStore, eventRegistry, 1);
      await follow();
      await register('a');
      await register('b');
      await hear(await eventsOf('a'));
      await hear(await eventsOf('b'));
      assert.deepEqual(
        ['a', 'b'].map((id) => directory.peek(id)?.status),
        ['active', undefined],
      );
    });

    it('leaves an event that cannot be read to whoever asks for the device', async () => {
      await follow();
      await register('a');
      await hear((await eventsOf('a')).map((event) => ({ ...event, data: { name: 1 } })));
      assert.equal(directory.peek('a'), undefined);
    });
  });

  it('keeps nothing that was read before it followed', async () => {
    await register('a');
    const source = sqliteEventSource(file);
    const gate = Promise.withResolvers<void>();
    const late = {
      run: source.run.bind(source),
      async ends() {
        await gate.promise;
        return source.ends();
      },
    };
    const stopped = new AbortController();
    const following = directory.follow(late, 'directory', stopped.signal);
    assert.equal(await statusIn(directory, 'a'), 'active');
    await commands().handle({ type: 'SuspendDevice', deviceId: 'a', reason: 'r' }, context);
    gate.resolve();
    await eventually(async () => assert.equal(await statusIn(directory, 'a'), 'suspended'));
    stopped.abort();
    await following;
    await source.close();
  });

  it('follows again after it could not, and keeps nothing that was read meanwhile', async () => {
    await register('a');
    const source = sqliteEventSource(file);
    let isBroken = true;
    const failures: unknown[] = [];
    const broken = {
      run: source.run.bind(source),
      async ends() {
        if (isBroken) throw new OperatorNeeded('events.db was deleted');
        return source.ends();
      },
    };
    const stopped = new AbortController();
    const following = directory.follow(broken, 'directory', stopped.signal, (error) => failures.push(error));
    await eventually(() => assert.equal(failures.length, 1));
    assert.equal(await statusIn(directory, 'a'), 'active');
    await commands().handle({ type: 'SuspendDevice', deviceId: 'a', reason: 'r' }, context);
    isBroken = false;
    await eventually(async () => assert.equal(await statusIn(directory, 'a'), 'suspended'));
    assert.equal(failures.length, 1, 'reported once');
    stopped.abort();
    await following;
    await source.close();
  });

  it('keeps nothing that was read before a change it has heard of', async () => {
    await register('a');
    const gate = Promise.withResolvers<void>();
    let held = true;
    const slow = new CachedDeviceDirectory(
      {
        async read(stream) {
          const events = await eventStore.read(stream);
          if (held) await gate.promise;
          return events;
        },
        isDeleted: async () => false,
        append: (stream, events, expected) => eventStore.append(stream, events, expected),
      },
      eventRegistry,
      100,
    );
    const early = statusIn(slow, 'a');
    await commands().handle({ type: 'SuspendDevice', deviceId: 'a', reason: 'r' }, context);
    slow.changed('a', 1);
    held = false;
    gate.resolve();
    await early;
    assert.equal(await statusIn(slow, 'a'), 'suspended');
  });
});
