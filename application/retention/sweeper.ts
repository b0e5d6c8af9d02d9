import { bucketOf } from '../../domain/rollup.ts';
import { pause } from '../pause.ts';
import { comparePositions, type EventSource, type Position, type Positioned } from '../ports/event-source.ts';
import { activeGeneration, type LeaseOwner, type ProjectionControl } from '../ports/generations.ts';
import type { GenerationId, ReadModels } from '../ports/read-models.ts';
import type { RetentionRecords, Sweep } from '../ports/retention.ts';
import type { Clock, Log } from '../ports/system.ts';
import {
  type ErasingPorts,
  initialSweep,
  sweepDeletedEverywhere,
  sweepErasedEverywhere,
  sweepPage,
} from './sweep.ts';

type SweeperPorts = ErasingPorts & {
  readonly control: ProjectionControl;
  readonly readModels: ReadModels;
  readonly source: Pick<EventSource<Positioned>, 'ends'>;
  readonly clock: Clock;
};

/** Sweeps expired data from the active generation. */
export type RetentionSweeper = {
  /** Looks whether there is anything to do, again and again, until `signal` is aborted. */
  run(signal: AbortSignal): Promise<void>;
  /** Does what there is to do now, once what is in the log has been consumed. */
  once(signal: AbortSignal): Promise<Sweep>;
};

const checkEveryMilliseconds = 10_000;
/** How often erasures that are complete are looked at as well. */
const lookAtAllMilliseconds = 60_000;
/** Of the time, looking for deleted devices may take this part at most: it looks at all that have telemetry. */
const greatestShare = 0.02;
/** Of a look that waited for a server that was away: it says nothing of how much work the next one is. */
const longestRestMilliseconds = 1_800_000;
/**
 * A reading may be so long on its way from the API's clock into the log, and clocks of its nodes that much apart, until
 * it can no longer be taken for one that came before.
 */
const onItsWayMilliseconds = 60_000;
const projection = { name: 'telemetry' } as const;

export function retentionSweeper(ports: SweeperPorts, owner: LeaseOwner, log: Log): RetentionSweeper {
  const { records, tables, retention, control, source, readModels, clock } = ports;
  let mark: { readonly at: number; readonly ends: ReadonlyMap<number, Position | null> } | undefined;
  let settledAt: number | undefined;
  let looksForDeletedAt = 0;
  let looksAtAllFrom = 0;

  return {
    async run(signal) {
      while (!signal.aborted) {
        try {
          await retention.refresh();
          await erase(signal);
          if (performance.now() >= looksForDeletedAt) await removeDeleted(signal);
          if ((await records.schedule()).length > 0) {
            await settle(await activeGeneration(projection, control));
            while (!signal.aborted && (await step(signal)) === 'more');
          }
        } catch (err) {
          if (!signal.aborted) log.warn({ err }, 'retention sweep failed, will retry');
        }
        await pause(checkEveryMilliseconds, signal);
      }
    },

    async once(signal) {
      await erase(signal);
      await removeDeleted(signal);
      const from = await now();
      while ((settledAt ?? Number.NEGATIVE_INFINITY) < from - onItsWayMilliseconds) {
        await settle(await activeGeneration(projection, control));
        await pause(100, signal);
        signal.throwIfAborted();
      }
      while ((await step(signal)) !== 'done') signal.throwIfAborted();
      return (await records.sweepOf(await activeGeneration(projection, control))) ?? initialSweep;
    },
  };

  /** What a clock that is ahead would take for expired could not be brought back: both have to say so. */
  async function now(): Promise<number> {
    return Math.min(clock.now(), await records.now());
  }

  /** Learns up to which moment everything that had come by then has been consumed. */
  async function settle(generation: GenerationId): Promise<void> {
    const seen = { at: await now(), ends: await source.ends() };
    mark ??= seen;
    for (const [partition, end] of mark.ends)
      if (comparePositions(await readModels.checkpoint(generation, partition), end) < 0) return;
    settledAt = mark.at - onItsWayMilliseconds;
    mark = seen;
  }

  function erase(signal: AbortSignal): Promise<void> {
    return withLease(async () => {
      const isDue = performance.now() >= looksAtAllFrom;
      await tables.completeTotals(await activeGeneration(projection, control), clock.now());
      await sweepErasedEverywhere(control, ports, clock.now, signal, isDue ? 'all' : 'pending');
      if (isDue) looksAtAllFrom = performance.now() + lookAtAllMilliseconds;
    });
  }

  async function removeDeleted(signal: AbortSignal): Promise<void> {
    const started = performance.now();
    await withLease(() => sweepDeletedEverywhere(control, ports, clock.now, signal));
    const ended = performance.now();
    looksForDeletedAt = ended + Math.min((ended - started) / greatestShare, longestRestMilliseconds);
  }

  /** Does nothing while another process holds the lease. */
  async function withLease(work: () => Promise<void>): Promise<void> {
    if (!(await records.acquireLease(owner))) return;
    try {
      await work();
    } finally {
      await records.releaseLease(owner);
    }
  }

  /** One page of devices, unless another process holds the lease. */
  async function step(signal: AbortSignal): Promise<'more' | 'done' | 'taken'> {
    if (!(await records.acquireLease(owner))) {
      await pause(200, signal);
      return 'taken';
    }
    try {
      const { projection: name, generation } = await activeGeneration(projection, control);
      const live = { projection: name, generation };
      const sweep = (await records.sweepOf(live)) ?? initialSweep;
      const target = sweep.target ?? (await nextTarget(sweep, settledAt, records));
      if (target === undefined) return 'done';
      const next = await sweepPage(live, { ...sweep, target }, ports, clock.now, signal);
      if (next.target === null)
        log.info({ generation, sweptTo: target, removed: next.removed }, 'retention sweep finished');
      return next.target === null ? 'done' : 'more';
    } finally {
      await records.releaseLease(owner);
    }
  }
}

/** A new one when a day has begun, or a policy come into force, since the last. */
async function nextTarget(
  { sweptTo }: Sweep,
  at: number | undefined,
  records: RetentionRecords,
): Promise<number | undefined> {
  if (at === undefined) return undefined;
  const inForce = (await records.schedule()).filter(({ since }) => since <= at);
  if (inForce.length === 0 || (sweptTo !== null && at <= sweptTo)) return undefined;
  const isNews =
    sweptTo === null ||
    bucketOf('1d', at) > bucketOf('1d', sweptTo) ||
    inForce.some(({ since }) => since > sweptTo);
  return isNews ? at : undefined;
}
