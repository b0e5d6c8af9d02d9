import type { Registry } from 'prom-client';
import { z } from 'zod';
import { HttpProblem } from './problems.ts';
import { type Readiness, readinessRoute } from './readiness-route.ts';
import { type Route, route } from './route.ts';

export type Operation = Readiness & {
  readonly metrics: Registry;
  /** Metrics of other threads of the process, in the text format of Prometheus. */
  readonly moreMetrics: readonly (() => Promise<string>)[];
  /** What stands still although it should move, one sentence each; to start the process again should help. */
  readonly stalled: () => readonly string[];
  readonly version: string;
};

export function operationRoutes(operation: Operation): readonly Route[] {
  const { metrics, moreMetrics, stalled, version } = operation;
  return [
    route({
      method: 'get',
      path: '/health/live',
      scope: 'public',
      tag: 'Operation',
      summary: 'Whether the process answers and everything in it moves',
      description:
        '503 while a projector of this process stands still although events wait; the servers it depends on are not asked.',
      answers: {
        200: {
          description: 'It does.',
          content: { 'application/json': z.strictObject({ status: z.literal('live'), version: z.string() }) },
        },
      },
      problems: ['not-live'],
      async handle() {
        const still = stalled();
        if (still.length > 0) throw new HttpProblem('not-live', still.join('; '));
        return { status: 200, json: { status: 'live', version } };
      },
    }),

    readinessRoute(operation),

    route({
      method: 'get',
      path: '/metrics',
      scope: 'operate',
      orBy: 'metrics-token',
      tag: 'Operation',
      summary: 'Metrics for Prometheus',
      answers: { 200: { description: 'Text format 0.0.4.', content: { 'text/plain': z.string() } } },
      async handle({ res }) {
        const texts = await Promise.all([metrics.metrics(), ...moreMetrics.map((read) => read())]);
        res.set('Content-Type', metrics.contentType).end(texts.join('\n'));
        return undefined;
      },
    }),
  ];
}
