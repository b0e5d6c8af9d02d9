import { setTimeout as pause } from 'node:timers/promises';
import { configFrom } from '../../infrastructure/config/config.ts';
import { pinoLog } from '../../infrastructure/logging/pino-log.ts';
import { openSession, type Session } from '../../interfaces/composition/session.ts';
import { serveCalls } from '../harness/peer.ts';
import { deviceId, metricsOf, readingTime } from '../harness/workload.ts';

const context = { correlationId: 'bench', actor: 'bench' };
let open: Session | undefined;

/** The application without its HTTP interface, on the stores that an environment names. */
export type SessionPeer = typeof calls;
const calls = {
  async open(env: Readonly<Record<string, string>>): Promise<void> {
    open = await openSession(configFrom(env), pinoLog('warn', 'bench'));
  },

  async close(): Promise<void> {
    await open?.close();
    open = undefined;
  },

  /** Registers devices; resolves with the seconds it took. */
  async register({ devices, prefix, inFlight }: { devices: number; prefix?: string; inFlight: number }) {
    const { commands } = session();
    const began = performance.now();
    await forEach(devices, inFlight, async (n) => {
      const id = prefix === undefined ? deviceId(n) : `${prefix}-${n}`;
      const details = { name: id, type: 'bench', labels: {} };
      await commands.handle({ type: 'RegisterDevice', deviceId: id, details }, context);
    });
    return (performance.now() - began) / 1000;
  },

  /** Publishes readings of the fleet, as requests of so many readings would. */
  async fill({ readings, devices, perRequest }: { readings: number; devices: number; perRequest: number }) {
    const { ingest } = session();
    const requests = readings / perRequest;
    await forEach(requests, 64, async (request) => {
      const some = Array.from({ length: perRequest }, (_, index) => {
        const n = request * perRequest + index;
        const device = n % devices;
        return {
          index,
          deviceId: deviceId(device),
          timestamp: readingTime(n, devices),
          metrics: metricsOf(device),
        };
      });
      const { accepted } = await ingest(some, context);
      if (accepted !== perRequest)
        throw new Error(`Only ${accepted} of ${perRequest} readings were accepted`);
    });
  },

  /** Projects what the logs hold; readings a second from the first commit to the last. */
  async project(): Promise<number> {
    const { catchUp, progress } = session();
    const caughtUp = catchUp();
    let over = false;
    void caughtUp.finally(() => {
      over = true;
    });
    let stored = 0;
    while (stored === 0 && !over) {
      stored = (await progress.ledgerTotals()).stored;
      await pause(5);
    }
    const began = performance.now();
    await caughtUp;
    const seconds = (performance.now() - began) / 1000;
    return ((await progress.ledgerTotals()).stored - stored) / seconds;
  },
};
serveCalls(calls);

function session(): Session {
  if (!open) throw new Error('No session is open');
  return open;
}

async function forEach(count: number, atOnce: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
