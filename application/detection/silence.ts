import { pause } from '../pause.ts';
import type { AlarmRecords, OverdueSeries } from '../ports/detection.ts';
import type { EventRegistry } from '../ports/event-registry.ts';
import { type EventSource, lastPositions, type Positioned } from '../ports/event-source.ts';
import { EventStoreUnavailable } from '../ports/event-store.ts';
import type { Clock, Ids, Log } from '../ports/system.ts';
import type { TelemetryLog } from '../ports/telemetry-log.ts';
import { NotYetProjected, type ProgressReader } from '../progress.ts';
import type { RuleBook } from './rule-book.ts';

type SilencePorts = {
  readonly source: Pick<EventSource<Positioned>, 'ends'>;
  readonly progress: Pick<ProgressReader, 'waitFor'>;
  readonly records: Pick<AlarmRecords, 'overdue'>;
  readonly rules: Pick<RuleBook, 'refresh' | 'activeAt'>;
  /** Opened when something is first to be written. */
  readonly telemetryLog: () => Promise<TelemetryLog>;
  readonly registry: Pick<EventRegistry, 'currentVersion'>;
  readonly ids: Ids;
  readonly clock: Clock;
  readonly log: Log;
};

const everyMilliseconds = 5_000;
/** Longer than a reading may take from its arrival into the log, as a rule. */
const underWayMilliseconds = 5_000;
const atOnce = 1_000;
/** What is behind for longer is looked at in the next round. */
const consumedWithin = 5_000;

/**
 * Looks every few seconds, until `signal` is aborted, for devices that have been silent for as long as a rule allows, and
 * puts a notice of each into the telemetry log. The alarm follows from the notice: also in a rebuild, which finds it
 * among the same readings. Nothing was silent before this was called: who was not there did not listen.
 */
export async function noticeSilence(
  ports: SilencePorts,
  signal: AbortSignal,
  every = everyMilliseconds,
): Promise<void> {
  const { clock, log } = ports;
  const since = clock.now();
  let isAway = false;
  while (!signal.aborted) {
    try {
      await noticeOverdue(ports, since);
      isAway = false;
    } catch (err) {
      if (signal.aborted) return;
      const level = isAway && err instanceof EventStoreUnavailable ? 'debug' : 'warn';
      if (!(err instanceof NotYetProjected)) log[level]({ err }, 'silent devices not looked for, will retry');
      isAway = err instanceof EventStoreUnavailable;
    }
    await pause(every, signal);
  }
}

async function noticeOverdue(ports: SilencePorts, since: number): Promise<void> {
  const { source, progress, records, rules, clock } = ports;
  const now = clock.now();
  await rules.refresh();
  const watching = rules.activeAt(now).flatMap(({ ruleId, definition }) => {
    const condition = definition?.condition;
    // Whatever was sent while nobody listened cannot be known.
    return condition?.kind === 'silent' && now - since >= condition.for ? [ruleId] : [];
  });
  if (watching.length === 0) return;
  // What came until now is known to the read model before anything is said to be missing.
  const ends = [...(await lastPositions(source))].map(([partition, position]) => ({
    source: 'telemetry' as const,
    partition,
    position,
  }));
  await progress.waitFor(['detection'], ends, consumedWithin);
  for (const ruleId of watching) {
    const overdue = await records.overdue(ruleId, now - underWayMilliseconds, atOnce);
    if (overdue.length > 0) await publish(ruleId, overdue, ports);
  }
}

async function publish(
  ruleId: string,
  overdue: readonly OverdueSeries[],
  { telemetryLog, registry, ids, clock, log }: SilencePorts,
): Promise<void> {
  const id = ids.uuidV7();
  const events = overdue.map(({ deviceId, metric, due }) => ({
    deviceId,
    ruleId,
    metric: metric === '' ? null : metric,
    due,
  }));
  const type = 'SilenceNoticed';
  const schemaVersion = registry.currentVersion(type);
  const header = { id, type, schemaVersion, receivedAt: clock.now(), correlationId: id, actor: 'detection' };
  await (await telemetryLog()).publish({ ...header, type, events });
  log.info({ ruleId, devices: events.length }, 'silent devices noticed');
}
