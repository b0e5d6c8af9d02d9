import type { Container } from 'inversify';
import { retryRegistered } from '../../application/late-registrations.ts';
import type { Log } from '../../application/ports/system.ts';
import type { ProjectionName } from '../../application/projections/projection.ts';
import { dropOldGenerations } from '../../application/rebuild/rebuild.ts';
import { measureStalls } from '../../infrastructure/metrics/projector-metrics.ts';
import { superviseProjectors } from '../workers/projector-supervisor.ts';
import { StallDetector } from '../workers/stall-detector.ts';
import { runAnnouncing, runNoticing, runSending } from './detection.ts';
import { leaseOwner } from './process.ts';
import { pipelineOf, replayPorts, supervisedProjections } from './projectors.ts';
import { runRetention } from './retention.ts';
import { services as s } from './services.ts';

export type Projectors = {
  /** Resolves once the signal is aborted and the batches in progress are stored. */
  readonly running: Promise<void>;
  /** The stalled projections, a sentence for each. */
  stalled(): readonly string[];
};

/** Runs projectors until `signal` is aborted, and watches their progress. */
export async function startProjectors(
  container: Container,
  names: readonly ProjectionName[],
  signal: AbortSignal,
): Promise<Projectors> {
  const [config, clock, log, control, metrics] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.clock),
    container.getAsync(s.log),
    container.getAsync(s.control),
    container.getAsync(s.metrics),
  ]);
  const detector = new StallDetector(config.PROJECTOR_STALL_MS, clock, log);
  const supervised = await supervisedProjections(container, names, detector);
  measureStalls(metrics, () => detector.stalls());
  // Not awaited at shutdown: it may be waiting for a server that does not respond.
  void detector.follow(signal);
  // Those that were kept by a release, or a setting, before this one.
  void dropKeptTooLong(container, names, log);
  const supervising = superviseProjectors(supervised, control, signal, log, detector);
  const keepsTelemetry = names.includes('telemetry');
  const sweeping = keepsTelemetry ? runRetention(container, signal) : undefined;
  const retrying = keepsTelemetry
    ? retryRegistered(await pipelineOf(container, 'telemetry'), await replayPorts(container), log, signal)
    : undefined;
  if (names.includes('detection')) await endFollowing(container, signal);
  const announcing = names.includes('detection') ? runAnnouncing(container, signal) : undefined;
  const sending = names.includes('detection') ? runSending(container, signal) : undefined;
  const noticing = names.includes('detection') ? runNoticing(container, signal) : undefined;
  return {
    running: Promise.all([supervising, sweeping, retrying, announcing, sending, noticing]).then(
      () => undefined,
    ),
    stalled: () =>
      [...detector.stalls()].flatMap(([name, stall]) => (stall === null ? [] : [`${name}: ${stall}`])),
  };
}

/** Nobody waits for rules, once `signal` is aborted, that are still looked for in a log of other programs' events. */
async function endFollowing(container: Container, signal: AbortSignal): Promise<void> {
  const followed = await container.getAllAsync(s.followedEvents);
  const close = () => {
    for (const one of followed) void one.close();
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
}

async function dropKeptTooLong(
  container: Container,
  names: readonly ProjectionName[],
  log: Log,
): Promise<void> {
  const ports = await replayPorts(container);
  const ids = await container.getAsync(s.ids);
  const owner = leaseOwner('a worker that has started', ids.uuidV7());
  for (const name of names)
    try {
      const dropped = await dropOldGenerations({ name }, ports, owner);
      if (dropped.length > 0) log.info({ projection: name, dropped }, 'old generations dropped');
    } catch (err) {
      log.warn({ projection: name, err }, 'old generations could not be dropped, will retry after a rebuild');
    }
}
