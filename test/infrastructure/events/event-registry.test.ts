import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { MalformedEvent, UnknownEventType } from '../../../application/ports/event-registry.ts';
import type { RecordedEvent } from '../../../application/ports/event-store.ts';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import {
  type EventShapes,
  eventRegistry,
  eventShapes,
  registryOf,
  shape,
} from '../../../infrastructure/event-registry.ts';

type Fixture = { readonly reads: unknown } & (
  | { readonly log: 'devices' | 'rules' | 'alarms' | 'hooks' | 'liveQueries'; readonly event: RecordedEvent }
  | { readonly log: 'telemetry'; readonly event: TelemetryRecord }
);

const folder = path.resolve(import.meta.dirname, '../../fixtures/events');
const files = readdirSync(folder);
const fixtures = files.map((file) => JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as Fixture);

function read(fixture: Fixture, registry = eventRegistry) {
  switch (fixture.log) {
    case 'devices':
      return registry.deviceEvent(fixture.event);
    case 'rules':
      return registry.ruleEvent(fixture.event);
    case 'alarms':
      return registry.alarmEvent(fixture.event);
    case 'hooks':
      return registry.hookEvent(fixture.event);
    case 'liveQueries':
      return registry.liveQueryEvent(fixture.event);
    case 'telemetry':
      return registry.telemetryEvent(fixture.event);
  }
}
const versionOf = (fixture: Fixture) =>
  fixture.log === 'telemetry' ? fixture.event.schemaVersion : fixture.event.metadata.schemaVersion;

describe('Event shapes', () => {
  for (const [i, fixture] of fixtures.entries())
    it(`${files[i]} stays readable`, () => assert.deepEqual(read(fixture), fixture.reads));

  for (const [type, versions] of Object.entries(eventShapes))
    for (const [i] of versions.entries())
      it(`there is an event of ${type} version ${i + 1} to try`, () =>
        assert.ok(fixtures.some((fixture) => fixture.event.type === type && versionOf(fixture) === i + 1)));

  it('of a type or version that is not known are named, not guessed', () => {
    const [first] = fixtures.filter(({ log }) => log === 'telemetry');
    const event = first?.event as TelemetryRecord;
    for (const unknown of [
      { ...event, type: 'TelemetryDreamt' },
      { ...event, type: 'constructor' },
      { ...event, schemaVersion: 0 },
      { ...event, schemaVersion: 99 },
    ])
      assert.throws(() => eventRegistry.telemetryEvent(unknown), UnknownEventType);
    assert.throws(() => eventRegistry.telemetryEvent({ ...event, data: { deviceId: 'a' } }), MalformedEvent);
  });

  describe('of a second version', () => {
    // As a later release would: a suspension may say when it ends; those of before do not.
    const [first] = eventShapes.DeviceSuspended;
    const later: EventShapes = {
      ...eventShapes,
      DeviceSuspended: [
        { ...first, upcast: (data) => ({ ...(data as object), until: null }) },
        shape(z.object({ deviceId: z.string(), reason: z.string(), until: z.string().nullable() })),
      ],
    };
    const registry = registryOf(later);
    const old = fixtures.find(({ event }) => event.type === 'DeviceSuspended') as Fixture & {
      log: 'devices';
    };

    it('are what new events are written with', () => {
      assert.equal(registry.currentVersion('DeviceSuspended'), 2);
      assert.equal(eventRegistry.currentVersion('DeviceSuspended'), 1);
    });

    it('are what events of the first version are read as', () => {
      assert.deepEqual(registry.deviceEvent(old.event), {
        type: 'DeviceSuspended',
        data: { deviceId: 'boiler-7', reason: 'Sensor drifts', until: null },
      });
    });

    it('are read as they are, and refused by the release that does not know them', () => {
      const data = { deviceId: 'boiler-7', reason: 'Sensor drifts', until: '2026-05-01' };
      const event = { ...old.event, data, metadata: { ...old.event.metadata, schemaVersion: 2 } };
      assert.deepEqual(registry.deviceEvent(event).data, data);
      assert.throws(() => eventRegistry.deviceEvent(event), UnknownEventType);
    });

    it('leave every other event readable', () => {
      for (const fixture of fixtures)
        if (fixture.event.type !== 'DeviceSuspended')
          assert.deepEqual(read(fixture, registry), fixture.reads);
    });
  });
});
