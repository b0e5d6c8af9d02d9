import { Counter, Gauge, type Registry } from 'prom-client';
import type { AlarmQueries, Announcement } from '../../application/ports/detection.ts';
import { ruleKinds, severities } from '../../domain/detection/rule.ts';
import { withinScrape } from './process-metrics.ts';

/** Counts the changes of alarms that this process has appended to the event store. */
export function announcedAlarms(registry: Registry): (announcement: Announcement) => void {
  const counter = new Counter({
    name: 'fieldlog_alarms_total',
    help: 'Alarms raised, escalated and cleared, by the kind of their rule',
    labelNames: ['kind', 'transition'],
    registers: [registry],
  });
  for (const kind of ruleKinds)
    for (const transition of ['raised', 'escalated', 'cleared']) counter.inc({ kind, transition }, 0);
  return ({ kind, change: transition }) => counter.inc({ kind, transition });
}

/** Registers which alarms are open and what the active generation has judged; read at each scrape. */
export function measureDetection(
  registry: Registry,
  queries: Pick<AlarmQueries, 'openCounts' | 'totals'>,
): void {
  const registers = [registry];
  let reading: ReturnType<typeof readTotals> | undefined;
  // All metrics of a scrape have them from one question.
  const totals = () => {
    reading ??= readTotals().finally(() => {
      reading = undefined;
    });
    return reading;
  };
  const readTotals = () => withinScrape(queries.totals());

  new Gauge({
    name: 'fieldlog_alarms_open',
    help: 'Alarms that are not cleared, whether acknowledged or not',
    labelNames: ['severity'],
    registers,
    async collect() {
      this.reset();
      const counts = await withinScrape(queries.openCounts());
      if (!counts) return;
      // Also none at all is said, so that an alert on it ends.
      for (const severity of severities) this.set({ severity }, 0);
      for (const { severity, count } of counts) this.set({ severity }, count);
    },
  });
  new Gauge({
    name: 'fieldlog_detection_series',
    help: 'Series that rules watch',
    // With a label, for a gauge without one is 0 where the database did not answer.
    labelNames: ['projection'],
    registers,
    async collect() {
      this.reset();
      const found = await totals();
      if (found) this.set({ projection: 'detection' }, found.series);
    },
  });
  new Counter({
    name: 'fieldlog_detection_points_total',
    help: 'Values that the active generation has judged; starts anew with a rebuild',
    labelNames: ['projection'],
    registers,
    async collect() {
      this.reset();
      const found = await totals();
      if (found) this.inc({ projection: 'detection' }, found.points);
    },
  });
  new Counter({
    name: 'fieldlog_detection_skipped_total',
    help: 'Values that the active generation has not judged, by reason; starts anew with a rebuild',
    labelNames: ['reason'],
    registers,
    async collect() {
      this.reset();
      const found = await totals();
      if (!found) return;
      this.inc({ reason: 'out-of-order' }, found.outOfOrder);
      this.inc({ reason: 'unwatched' }, found.unwatched);
      this.inc({ reason: 'text' }, found.text);
    },
  });
}
