import { EventStoreUnavailable } from '../../application/ports/event-store.ts';
import { RebuildUnderWay, ReplayRefused } from '../../application/ports/generations.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { HistoryExpired } from '../../application/rebuild/expired-history.ts';

/** What an error is made of: classes do not cross threads. */
export type Failure = {
  readonly name: string;
  readonly message: string;
  readonly runner?: string;
  readonly readings?: number;
  readonly from?: number | null;
};

export function serializeFailure(error: unknown): Failure {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return {
    name,
    message,
    ...(error instanceof RebuildUnderWay && { runner: error.runner }),
    ...(error instanceof HistoryExpired && { readings: error.readings, from: error.from }),
  };
}

const plain = { ReplayRefused, ReadModelsUnavailable, EventStoreUnavailable, TelemetryLogUnavailable };

export function deserializeFailure({ name, message, runner, readings, from = null }: Failure): Error {
  if (name === 'RebuildUnderWay') return Object.assign(new RebuildUnderWay('', runner ?? ''), { message });
  if (name === 'HistoryExpired')
    return Object.assign(new HistoryExpired('', readings ?? 0, from), { message });
  if (Object.hasOwn(plain, name)) return new plain[name as keyof typeof plain](message);
  return Object.assign(new Error(message), { name });
}
