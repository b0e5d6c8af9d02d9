import type { Clock, Log } from '../ports/system.ts';
import type { TelemetryLog } from '../ports/telemetry-log.ts';
import type { ProjectionStatus } from '../progress.ts';

/** Milliseconds between two looks at how far the projection has come. */
const refreshEvery = 250;
/** Milliseconds after which a projection that has not moved is not waited for: it is paused, or has no database. */
const stallTimeout = 10_000;
/** Maximum delay of a publication in milliseconds, reached at twice the backlog limit. */
const longestWait = 1000;

/**
 * Backpressure: delays publications while the projection is more than `limit` events behind the log, the longer
 * the farther. Both share a machine: the projection then gets enough of it to keep up, and more is stored in all than
 * when one waits for the other.
 */
export function withBackpressure(
  log: TelemetryLog,
  projection: () => Promise<ProjectionStatus>,
  limit: number,
  clock: Clock,
  logger: Log,
): TelemetryLog {
  let wait = 0;
  let refreshedAt = Number.NEGATIVE_INFINITY;
  let lastPositions = '';
  let movedAt = Number.NEGATIVE_INFINITY;
  let isKnown = true;

  return {
    async publish(publication) {
      if (clock.now() - refreshedAt >= refreshEvery) {
        refreshedAt = clock.now();
        void refreshDelay();
      }
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      return log.publish(publication);
    },
  };

  async function refreshDelay(): Promise<void> {
    const before = wait;
    try {
      const { positions, lag } = await projection();
      isKnown = true;
      if (positions.join() !== lastPositions) movedAt = clock.now();
      lastPositions = positions.join();
      const beyond = clock.now() - movedAt < stallTimeout ? (lag ?? 0) - limit : 0;
      wait = Math.min(longestWait, Math.max(0, (beyond / limit) * longestWait));
      if (before === 0 && wait > 0)
        logger.warn({ lag, limit }, 'telemetry is far behind: ingest is slowed down');
    } catch (err) {
      wait = 0;
      if (isKnown) logger.warn({ err }, 'consumer lag of telemetry unknown: ingest is not slowed down');
      isKnown = false;
    }
    if (before > 0 && wait === 0) logger.info({ limit }, 'ingest is no longer slowed down');
  }
}
