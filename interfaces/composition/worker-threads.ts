import type { AuditReport } from '../../application/operations/audit.ts';
import type { ReplayTasks } from '../../application/operations/operations.ts';
import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import {
  type GenerationDigest,
  RebuildUnderWay,
  ReplayRefused,
} from '../../application/ports/generations.ts';
import type { Point } from '../../application/ports/queries.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { StorageFault } from '../../application/ports/storage.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import type { Claimed } from '../../application/rebuild/claim.ts';
import { HistoryExpired } from '../../application/rebuild/expired-history.ts';
import { LogNotRead, type TelemetryAsRecorded } from '../../application/telemetry/as-recorded.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { WorkerChannel } from '../../infrastructure/worker-channel.ts';
import type { AsRecordedTask } from './as-recorded-worker.ts';
import type { ClaimNotice, OperationTask } from './operations-worker.ts';

/** Errors that clients are shown by their class. */
const errors = [
  EventStoreUnavailable,
  HistoryExpired,
  ReadModelsUnavailable,
  RebuildUnderWay,
  ReplayRefused,
  StorageFault,
  TelemetryLogUnavailable,
];

type Closing = { close(): Promise<void> };

/** Each operation in a thread of its own: reading a whole log must not keep requests waiting. */
export function operationThreads(config: Config): ReplayTasks & Closing {
  const running = new Set<Closing>();

  return {
    start: (task) => run(task).claimed,
    async audit(query, signal) {
      const { done, close } = run({ do: 'audit', query });
      signal.addEventListener('abort', close, { once: true });
      try {
        return (await done) as AuditReport;
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      }
    },
    digest: async (projection, generation) =>
      (await run({ do: 'digest', projection, generation }).done) as GenerationDigest,
    close: () => closeAll(running),
  };

  function run(task: OperationTask): { claimed: Promise<Claimed>; done: Promise<unknown> } & Closing {
    const claimed = Promise.withResolvers<Claimed>();
    const channel = new WorkerChannel<OperationTask, unknown, ClaimNotice>(
      new URL('./operations-worker.ts', import.meta.url),
      config,
      {
        errors,
        lost: (cause, exitCode) =>
          cause instanceof Error
            ? cause
            : new Error(`The thread of an operation ended with exit code ${exitCode}`),
        onNotice: (notice) => claimed.resolve(notice.claimed),
      },
    );
    track(channel, running);
    const done = channel.request(task).finally(() => void channel.close());
    // The caller awaits either the claim or the result; a build that fails before its claim rejects both.
    done.catch(claimed.reject);
    claimed.promise.catch(() => {});
    return { claimed: claimed.promise, done, close: () => channel.close() };
  }
}

/** Each query reads the whole log in its thread. */
const maxQueries = 2;

/** Each query in a thread of its own, for no longer than its client waits and `AS_RECORDED_MS` allows. */
export function asRecordedThreads(config: Config): { readonly asRecorded: TelemetryAsRecorded } & Closing {
  const running = new Set<Closing>();

  return {
    async *asRecorded(query, signal) {
      if (running.size >= maxQueries)
        throw new LogNotRead(`${maxQueries} queries with asRecordedAt are running already: try again later`);
      const timeout = AbortSignal.timeout(config.AS_RECORDED_MS);
      const ended = AbortSignal.any([signal, timeout]);
      const channel = new WorkerChannel<'next', IteratorResult<readonly Point[], void>>(
        new URL('./as-recorded-worker.ts', import.meta.url),
        { config, query } satisfies AsRecordedTask,
        {
          errors,
          lost: (cause) => new Error('The thread of the query ended before its response', { cause }),
        },
      );
      track(channel, running);
      const close = () => void channel.close();
      ended.addEventListener('abort', close, { once: true });
      try {
        yield* channel.stream<readonly Point[]>('next', ended);
      } catch (error) {
        signal.throwIfAborted();
        if (!timeout.aborted) throw error;
        throw new LogNotRead(
          `The log could not be read and the answer sent within ${config.AS_RECORDED_MS} ms; AS_RECORDED_MS sets the limit`,
        );
      } finally {
        close();
      }
    },
    close: () => closeAll(running),
  };
}

function track(channel: Closing & { readonly exited: Promise<unknown> }, running: Set<Closing>): void {
  running.add(channel);
  void channel.exited.then(() => running.delete(channel));
}

async function closeAll(channels: Iterable<Closing>): Promise<void> {
  await Promise.all([...channels].map((channel) => channel.close()));
}
