import { Counter, Histogram, type Registry } from 'prom-client';

export type RequestMetrics = {
  responded(method: string, route: string, status: number | 'aborted', seconds: number): void;
};

export type ReadingMetrics = {
  accepted(count: number): void;
  rejected(reason: string, count: number): void;
};

const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PATCH', 'OPTIONS', 'PUT', 'DELETE']);

/** Rate, errors and duration by route template, never by path: the number of label values stays bounded. */
export function requestMetrics(registry: Registry): RequestMetrics {
  const duration = new Histogram({
    name: 'fieldlog_http_request_duration_seconds',
    help: 'Time from the first byte of a request to the last of its answer; its count is the request rate.',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10, 30],
    registers: [registry],
  });
  return {
    responded(method, route, status, seconds) {
      duration.observe({ method: knownMethods.has(method) ? method : 'other', route, status }, seconds);
    },
  };
}

export function readingMetrics(registry: Registry): ReadingMetrics {
  const accepted = new Counter({
    name: 'fieldlog_readings_accepted_total',
    help: 'Readings answered with 202 after they were durable in the log.',
    registers: [registry],
  });
  const rejected = new Counter({
    name: 'fieldlog_readings_rejected_total',
    help: 'Readings refused, by reason.',
    labelNames: ['reason'] as const,
    registers: [registry],
  });
  return {
    accepted: (count) => accepted.inc(count),
    rejected: (reason, count) => rejected.inc({ reason }, count),
  };
}
