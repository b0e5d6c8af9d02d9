import { Registry } from 'prom-client';
import { deviceCommands } from '../../application/devices/device-commands.ts';
import { deviceHistory, foldDevice } from '../../application/devices/device-stream.ts';
import {
  type EventStore,
  type RecordedEvent,
  RevisionConflict,
} from '../../application/ports/event-store.ts';
import type { Point, TelemetryQueries } from '../../application/ports/queries.ts';
import type { DeviceRow } from '../../application/ports/read-models.ts';
import type { TelemetryPublication } from '../../application/ports/telemetry-log.ts';
import { telemetryBuckets } from '../../application/telemetry/buckets.ts';
import { ingestTelemetry, retractTelemetry } from '../../application/telemetry/ingest.ts';
import { deviceStream } from '../../domain/device.ts';
import type { Reading } from '../../domain/telemetry.ts';
import { eventRegistry } from '../../infrastructure/event-registry.ts';
import { randomCredentials, uuidIds } from '../../infrastructure/identity.ts';
import { luxonCalendar } from '../../infrastructure/luxon-calendar.ts';
import { QuerySlots } from '../../interfaces/http/query-slots.ts';
import { type HttpOptions, type HttpServices, httpServer } from '../../interfaces/http/server.ts';
import { inMemoryTelemetry } from './in-memory-telemetry.ts';

/** What was logged, one entry a line. */
export type Logged = { level: string; fields: Record<string, unknown>; message: string };

/** The use cases over memory, for tests of the HTTP interface itself; what matters to a test it replaces. */
export function httpServices(replaced: Partial<HttpServices> = {}) {
  const published: TelemetryPublication[] = [];
  const logged: Logged[] = [];
  const eventStore = inMemoryEventStore();
  const history = deviceHistory(eventStore, eventRegistry);
  const directory = {
    peek: () => undefined,
    async find(deviceIds: ReadonlySet<string>) {
      const found = await Promise.all([...deviceIds].map((id) => history.deviceAt(id, 'now')));
      return new Map(
        found.flatMap((one) => (one ? [[one.device.deviceId, { ...one.device, types: [] }] as const] : [])),
      );
    },
  };
  const telemetryLog = {
    async publish(publication: TelemetryPublication) {
      published.push(publication);
      return [{ partition: 0, position: String(points().length) }];
    },
  };
  const points = (): Point[] =>
    published.flatMap(({ events }) =>
      (events as Reading[]).flatMap(({ deviceId, timestamp, metrics }) =>
        Object.entries(metrics).map(([metric, value]) => ({ deviceId, timestamp, metric, value })),
      ),
    );
  const clock = { now: Date.now };
  const telemetry: TelemetryQueries = {
    points: (query) => inMemoryTelemetry(points()).queries.points(query),
    rollups: (level, query) => inMemoryTelemetry(points()).queries.rollups(level, query),
    rollupsAt: (level, buckets) => inMemoryTelemetry(points()).queries.rollupsAt(level, buckets),
    latest: async () => [],
  };
  const write = (level: string) => (fields: object, message: string) =>
    void logged.push({ level, fields: { ...fields }, message });

  const commands = deviceCommands(eventStore, eventRegistry, uuidIds, clock, () => {});
  const services: HttpServices = {
    commands,
    history,
    directory,
    credentials: randomCredentials,
    access: {
      admit: () => undefined,
      sender: async () => ({ is: 'anyone' }),
      requireDevice: async () => {},
      stillAdmits: async () => true,
    },
    live: notAsked as unknown as HttpServices['live'],
    ingest: ingestTelemetry(directory, telemetryLog, eventRegistry, uuidIds, clock),
    devices: {
      list: async (_, { limit, after = '' }) =>
        (await eventStore.devices()).filter(({ deviceId }) => deviceId > after).slice(0, limit),
      find: async () => new Map(),
      history: async () => [],
    },
    progress: {
      progress: async () => [],
      deadLetterCounts: async () => [],
      ledgerTotals: async () => ({
        stored: 0,
        duplicate: 0,
        corrected: 0,
        deadLettered: 0,
        late: 0,
        retracted: 0,
        expired: 0,
      }),
    },
    erase: (deviceId, reason, context) => commands.handle({ type: 'EraseDevice', deviceId, reason }, context),
    retention: { schedule: async () => [], activeSweep: async () => undefined },
    retract: retractTelemetry(directory, telemetryLog, eventRegistry, uuidIds, clock),
    asRecorded: async function* () {},
    rules: notAsked,
    alarms: notAsked,
    alarmQueries: notAsked,
    hooks: notAsked,
    liveQueries: notAsked,
    hookDeliveries: notAsked,
    hookSender: notAsked,
    replay: notAsked,
    tasks: notAsked,
    telemetry,
    buckets: telemetryBuckets(telemetry, luxonCalendar()),
    calendar: luxonCalendar(),
    freshness: {
      status: async () => ({ positions: ['devices:0:7'], lag: 0, lagIsAtLeast: false }),
      waitFor: async () => {},
    },
    ids: uuidIds,
    slots: new QuerySlots(16),
    log: { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
    metrics: new Registry(),
    checks: {},
    ...replaced,
  };
  return { services, published, logged };
}

type NotAsked = HttpServices['replay'] &
  HttpServices['tasks'] &
  HttpServices['rules'] &
  HttpServices['alarms'] &
  HttpServices['alarmQueries'] &
  HttpServices['hooks'] &
  HttpServices['liveQueries'] &
  HttpServices['hookDeliveries'] &
  HttpServices['hookSender'];

/** Rebuilds are held to what they say where there is something to rebuild. */
const notAsked = new Proxy({} as NotAsked, {
  get: (_, name) => () => Promise.reject(new Error(`${String(name)} is not for this test`)),
});

/** Serves on a free port of the loopback interface. */
export async function serveHttp(services: HttpServices, options: Partial<HttpOptions> = {}) {
  const server = httpServer(services, { version: '0.0.0-test', ...options });
  const { port } = await server.listen(0, '127.0.0.1');
  return { url: `http://127.0.0.1:${port}`, server, close: () => server.close(1000) };
}

function inMemoryEventStore(): EventStore & { devices(): Promise<readonly DeviceRow[]> } {
  const streams = new Map<string, readonly RecordedEvent[]>();
  let count = 0;
  return {
    read: async (stream) => streams.get(stream) ?? [],
    isDeleted: async () => false,
    async append(stream, events, expected) {
      const before = streams.get(stream) ?? [];
      if ((before.at(-1)?.revision ?? 'none') !== expected) throw new RevisionConflict(stream);
      const appended = events.map((event, i) => {
        count += 1;
        return { ...event, stream, revision: before.length + i, position: String(count) };
      });
      streams.set(stream, [...before, ...appended]);
      return appended;
    },
    async devices() {
      const rows = [...streams].map(([stream, events]) =>
        foldDevice(stream.slice(deviceStream('').length), events, eventRegistry),
      );
      return rows.filter((row) => row !== undefined).sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
    },
  };
}
