import type { Registry } from 'prom-client';
import { z } from 'zod';
import type { Log } from '../../application/ports/log.ts';
import { HttpProblem } from './problems.ts';
import { type Route, route } from './route.ts';

/** Dependencies by name; each call rejects when it cannot be used. */
export type Checks = Readonly<Record<string, () => Promise<void>>>;

export type Operation = {
  readonly metrics: Registry;
  /** Metrics of other threads of the process, in the text format of Prometheus. */
  readonly moreMetrics: readonly (() => Promise<string>)[];
  readonly checks: Checks;
  /** What stands still although it should move, one sentence each; to start the process again should help. */
  readonly stalled: () => readonly string[];
  readonly log: Log;
  readonly version: string;
  readonly closing: () => boolean;
};

const checkWithin = 2000;

export function operationRoutes({
  metrics,
  moreMetrics,
  checks,
  stalled,
  log,
  version,
  closing,
}: Operation): readonly Route[] {
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

    route({
      method: 'get',
      path: '/health/ready',
      scope: 'public',
      tag: 'Operation',
      summary: 'Whether requests can be served now',
      description:
        '503 while a dependency cannot be used, `checks` says which, and while the server shuts down.',
      answers: {
        200: {
          description: 'They can.',
          content: {
            'application/json': z.strictObject({
              status: z.literal('ready'),
              checks: z.record(z.string(), z.enum(['ok', 'failed'])),
            }),
          },
        },
      },
      problems: ['not-ready'],
      async handle({ context }) {
        if (closing()) throw new HttpProblem('not-ready', 'The server is shutting down');
        const names = Object.keys(checks);
        const passed = await Promise.all(names.map((name) => passes(name, context.caller.correlationId)));
        const told = Object.fromEntries(names.map((name, i) => [name, passed[i] ? 'ok' : 'failed']));
        const failed = names.filter((_, i) => !passed[i]);
        if (failed.length > 0)
          throw new HttpProblem('not-ready', `Failed: ${failed.join(', ')}`, { members: { checks: told } });
        return { status: 200, json: { status: 'ready', checks: told } };
      },
    }),

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

  async function passes(name: string, correlationId: string): Promise<boolean> {
    const timeout = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => timeout.reject(new Error(`No answer within ${checkWithin} ms`)),
      checkWithin,
    );
    try {
      await Promise.race([checks[name]?.(), timeout.promise]);
      return true;
    } catch (err) {
      log.warn({ correlationId, check: name, err }, 'A dependency is not ready');
      return false;
    } finally {
      clearTimeout(timer);
    }
  }
}
