import { Counter, Gauge, type Registry } from 'prom-client';
import type { SendingOutcome } from '../../application/detection/sending.ts';
import type { HookDeliveries } from '../../application/ports/hooks.ts';
import type { Clock } from '../../application/ports/system.ts';
import { withinScrape } from './process-metrics.ts';

/** Counts what came of each try of this process to send to a hook. */
export function triedDeliveries(registry: Registry): (outcome: SendingOutcome) => void {
  const counter = new Counter({
    name: 'fieldlog_hook_deliveries_total',
    help: 'Tries to send to a hook, by outcome: delivered, retried (to be tried again) or failed',
    labelNames: ['outcome'],
    registers: [registry],
  });
  for (const outcome of ['delivered', 'retried', 'failed']) counter.inc({ outcome }, 0);
  return (outcome) => counter.inc({ outcome });
}

/** Registers what was not delivered to hooks; read at each scrape. */
export function measureHooks(
  registry: Registry,
  deliveries: Pick<HookDeliveries, 'counts'>,
  clock: Clock,
): void {
  const registers = [registry];
  const oldest = new Gauge({
    name: 'fieldlog_hook_oldest_seconds',
    help: 'Age of the oldest delivery to a hook, by state; nothing where there is none',
    labelNames: ['state'],
    registers,
  });
  new Gauge({
    name: 'fieldlog_hook_queue',
    help: 'Deliveries to hooks that wait for a try, or failed',
    labelNames: ['state'],
    registers,
    // Of both gauges: one question answers both.
    async collect() {
      this.reset();
      oldest.reset();
      const counts = await withinScrape(deliveries.counts());
      if (!counts) return;
      for (const state of ['waiting', 'failed']) this.set({ state }, 0);
      for (const { state, count, oldest: since } of counts) {
        this.set({ state }, count);
        oldest.set({ state }, Math.max(0, (clock.now() - since) / 1000));
      }
    },
  });
}
