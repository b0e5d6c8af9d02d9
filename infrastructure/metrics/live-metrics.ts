import { Counter, Gauge, type Registry } from 'prom-client';
import type { LiveMetrics } from '../../application/live/live-stream.ts';

export function liveMetrics(registry: Registry): LiveMetrics {
  const registers = [registry];
  const events = new Counter({
    name: 'fieldlog_live_events_total',
    help: 'Events written to live streams',
    labelNames: ['event'] as const,
    registers,
  });
  const conflated = new Counter({
    name: 'fieldlog_live_conflated_total',
    help: 'Events that waited for a slow client, which got only the newest of each device',
    registers,
  });
  const ended = new Counter({
    name: 'fieldlog_live_closed_total',
    help: 'Live streams that ended, by why',
    labelNames: ['reason'] as const,
    registers,
  });
  const opened = new Counter({
    name: 'fieldlog_live_opened_total',
    help: 'Live streams that began',
    registers,
  });
  return {
    opened: () => opened.inc(),
    closed: (reason) => ended.inc({ reason }),
    sent: (event) => events.inc({ event }),
    conflated: () => conflated.inc(),
  };
}

export function measureStreams(
  registry: Registry,
  streams: { readonly size: number; readonly pending: number },
): void {
  new Gauge({
    name: 'fieldlog_live_streams',
    help: 'Live streams that are open',
    registers: [registry],
    collect() {
      this.set(streams.size);
    },
  });
  new Gauge({
    name: 'fieldlog_live_queue_bytes',
    help: 'Bytes of live streams that their clients have not taken',
    registers: [registry],
    collect() {
      this.set(streams.pending);
    },
  });
}
