import { setTimeout as after } from 'node:timers/promises';
import { isWithin } from '../../application/device-bounds.ts';
import type { DeviceCommands } from '../../application/devices/device-commands.ts';
import type { PartitionPosition } from '../../application/ports/event-source.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import type { Log } from '../../application/ports/system.ts';
import { NotYetProjected, type ProgressReader } from '../../application/progress.ts';
import { boundsOf } from '../http/device-bounds.ts';
import type { Intake } from '../http/intake.ts';
import { HttpProblem } from '../http/problems.ts';
import type { RequestContext } from '../http/request-context.ts';
import type { ReadingSink } from './reading-sink.ts';
import { registerNew } from './registration.ts';

export type ImportServices = {
  readonly intake: Intake;
  readonly commands: DeviceCommands;
  readonly progress: Pick<ProgressQueries, 'ledgerTotals'>;
  readonly freshness: Pick<ProgressReader, 'waitFor'>;
  readonly log: Log;
};

/** Of one look, whether the read models are there; it is asked until they are. */
const projectedWithin = 10_000;

/**
 * Imports as the caller of a request, with the limits and for the devices of its key. Rejects with the reason of
 * `signal` once that is aborted.
 */
export function intakeSink(
  { intake, commands, progress, freshness }: ImportServices,
  context: RequestContext,
  signal: AbortSignal,
): ReadingSink {
  const positions = new Map<number, PartitionPosition>();
  let lateBefore: number | undefined;
  return {
    name: 'this server',

    /** Those outside what the key is for stay unregistered, and their readings are refused. */
    register(devices) {
      const bounds = boundsOf(context.identity);
      const within = devices.filter(
        ({ deviceId, type }) => bounds === undefined || isWithin(bounds, { deviceId, type, labels: {} }),
      );
      return registerNew(commands, within, context.caller);
    },

    async send(readings) {
      lateBefore ??= await late();
      const submitted = readings.map((reading, index) => ({ index, ...reading }));
      const taken = await withinRate(() => intake({ readings: submitted, rejected: [] }, context));
      for (const position of taken.positions) positions.set(position.partition, position);
      return taken.rejected.map(({ index, detail }) => ({ index, reason: detail }));
    },

    async settle() {
      if (lateBefore === undefined) return 0;
      const awaited = [...positions.values()].map((at) => ({ source: 'telemetry' as const, ...at }));
      while (!(await isProjected(awaited))) signal.throwIfAborted();
      return (await late()) - lateBefore;
    },
  };

  async function late(): Promise<number> {
    return (await progress.ledgerTotals()).late;
  }

  async function isProjected(awaited: Parameters<ProgressReader['waitFor']>[1]): Promise<boolean> {
    try {
      await freshness.waitFor(['telemetry'], awaited, projectedWithin);
      return true;
    } catch (error) {
      if (error instanceof NotYetProjected) return false;
      throw error;
    }
  }

  /** A limit that is reached slows the import down: nothing was accepted, and it is sent again. */
  async function withinRate<Result>(send: () => Promise<Result>): Promise<Result> {
    for (;;)
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof HttpProblem && error.kind === 'rate-limited')) throw error;
        await after(1000 * Number(error.extras.headers?.['Retry-After'] ?? 1));
        signal.throwIfAborted();
      }
  }
}
