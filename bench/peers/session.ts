import { setTimeout as pause } from 'node:timers/promises';
import type { Container } from 'inversify';
import { furthest, type Position } from '../../application/ports/event-source.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import { deviceStream } from '../../domain/device.ts';
import { configFrom } from '../../infrastructure/config/config.ts';
import { pinoLog } from '../../infrastructure/pino-log.ts';
import { openContainer } from '../../interfaces/composition/container.ts';
import { supervisedProjections } from '../../interfaces/composition/projectors.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { superviseProjectors } from '../../interfaces/workers/projector-supervisor.ts';
import { inFlight } from '../harness/in-flight.ts';
import { serveCalls } from '../harness/peer.ts';
import {
  correlationId,
  deviceDetails,
  deviceHistory,
  fleetReadings,
  varyingReadings,
} from '../harness/workload.ts';

const context = { correlationId, actor: 'bench' };
const log = pinoLog('warn', 'bench');
let opened: Container | undefined;
/** As an API follows the devices that it knows. */
let stopped = new AbortController();
let following: Promise<void> | undefined;

/** The application without its HTTP interface, on the stores that an environment names. */
export type SessionPeer = typeof calls;
const calls = {
  async open(env: Readonly<Record<string, string>>): Promise<void> {
    opened = await openContainer(configFrom(env), log, { role: 'serve' });
    const [directory, source] = await Promise.all([
      opened.getAsync(s.directory),
      opened.getAsync(s.deviceSource),
    ]);
    stopped = new AbortController();
    following = directory.follow(source, 'bench', stopped.signal);
  },

  async close(): Promise<void> {
    stopped.abort();
    await following;
    await opened?.unbindAllAsync();
    opened = undefined;
  },

  /** Registers devices, so many at a time; resolves with how many a second. */
  async register({ ids, atOnce }: { ids: readonly string[]; atOnce: number }): Promise<number> {
    const commands = await container().getAsync(s.commands);
    const began = performance.now();
    await inFlight(ids.length, atOnce, async (n) => {
      const deviceId = ids[n] as string;
      await commands.handle({ type: 'RegisterDevice', deviceId, details: deviceDetails }, context);
    });
    return (ids.length * 1000) / (performance.now() - began);
  },

  /** Renames devices in turn, so many at a time; resolves with how many changes a second. */
  async change(asked: {
    ids: readonly string[];
    changes: number;
    atOnce: number;
    round: number;
  }): Promise<number> {
    const { ids, changes, atOnce, round } = asked;
    const commands = await container().getAsync(s.commands);
    const began = performance.now();
    await inFlight(changes, atOnce, async (n) => {
      const deviceId = ids[n % ids.length] as string;
      const name = `Boiler ${round} ${n}`;
      await commands.handle({ type: 'ChangeDeviceDetails', deviceId, changes: { name } }, context);
    });
    return (changes * 1000) / (performance.now() - began);
  },

  /** Publishes readings of the fleet, as requests of so many readings would. */
  async fill(asked: { readings: number; devices: number; perRequest: number; vary?: boolean }) {
    const { readings, devices, perRequest, vary = false } = asked;
    const ingest = await container().getAsync(s.ingest);
    const readingsFrom = vary ? varyingReadings : fleetReadings;
    await inFlight(readings / perRequest, 64, async (request) => {
      const some = readingsFrom(request * perRequest, perRequest, devices);
      const { accepted } = await ingest(
        some.map((reading, index) => ({ index, ...reading })),
        context,
      );
      if (accepted !== perRequest)
        throw new Error(`Only ${accepted} of ${perRequest} readings were accepted`);
    });
  },

  /** Gives devices a history, straight into the event store; resolves with the position of its last event. */
  async live({ devices, eventsEach }: { devices: number; eventsEach: number }): Promise<Position | null> {
    const eventStore = await container().getAsync(s.eventStore);
    let last: Position | null = null;
    await inFlight(devices, 512, async (n) => {
      const events = deviceHistory(n, eventsEach);
      const stream = deviceStream(events[0]?.data.deviceId ?? '');
      const appended = await eventStore.append(stream, events, 'none');
      last = furthest(last, appended.at(-1)?.position ?? null);
    });
    return last;
  },

  /**
   * Projects all that is in the log, from nothing; events a second from the first commit to the last, of the projection
   * that is behind the others.
   */
  async project({ projection, events }: { projection: Projected; events: number }): Promise<number> {
    const names = typeof projection === 'string' ? [projection] : projection;
    const projections = await supervisedProjections(container(), names);
    const stop = new AbortController();
    const running = superviseProjectors(projections, await container().getAsync(s.control), stop.signal, log);
    const first = await until(names, 1);
    const last = await until(names, events);
    stop.abort();
    await running;
    return ((last.done - first.done) * 1000) / (last.at - first.at);
  },

  /** Series that detection watches, and the mean bytes of what it remembers of one. */
  async series(): Promise<{ series: number; bytes: number }> {
    const database = await container().getAsync(s.database);
    const [[series = 0, characters = 0] = []] = await database.rows<[number, number]>(
      'SELECT COUNT(*), AVG(LENGTH(state)) FROM detection_states_g1',
    );
    // Base64 has four characters for three bytes.
    return { series, bytes: (characters * 3) / 4 };
  },
};
serveCalls(calls);

function container(): Container {
  if (!opened) throw new Error('No session is open');
  return opened;
}

type Projected = ProjectionName | readonly ProjectionName[];

async function until(
  names: readonly ProjectionName[],
  events: number,
): Promise<{ done: number; at: number }> {
  for (;;) {
    const done = Math.min(...(await Promise.all(names.map(eventsDone))));
    if (done >= events) return { done, at: performance.now() };
    await pause(5);
  }
}

async function eventsDone(projection: ProjectionName): Promise<number> {
  const progress = await container().getAsync(s.progressQueries);
  // Positions of the embedded logs count their events; those of other logs do not.
  if (projection === 'telemetry') return (await progress.ledgerTotals()).stored;
  const known = (await progress.progress()).find((one) => one.projection === projection);
  return Number(known?.checkpoints[0]?.position ?? 0);
}
