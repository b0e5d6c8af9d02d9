import { collectDefaultMetrics, type Registry } from 'prom-client';

/** Memory, CPU, event-loop delay, garbage collection and handles of this process. */
export function measureProcess(registry: Registry): void {
  // The delay is sampled by a timer: at the default of 10 ms an idle process spends half a per cent of a core on it.
  // What is told as delay includes this interval, which the alert on it takes off.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
}
