import { z } from 'zod';
import type { Log } from '../../application/ports/system.ts';
import { HttpProblem } from './problems.ts';
import { single } from './query-parameters.ts';
import { type Route, route } from './route.ts';

/** Dependencies by name; each call rejects when it cannot be used. */
export type Checks = Readonly<Record<string, () => Promise<void>>>;

export type Readiness = {
  readonly checks: Checks;
  /** Of the dependencies, those without which the process is of no use; all of them when absent. */
  readonly needed?: readonly string[] | undefined;
  readonly log: Log;
  readonly closing: () => boolean;
};

const checkWithin = 2000;

export function readinessRoute({ checks, needed, log, closing }: Readiness): Route {
  const names = Object.keys(checks);
  const isNeeded = (name: string) => needed?.includes(name) ?? true;
  const error = `must be one of ${names.join(', ')}`;

  return route({
    method: 'get',
    path: '/health/ready',
    scope: 'public',
    tag: 'Operation',
    summary: 'Whether requests can be served now',
    description:
      '503 while the server shuts down, or a dependency cannot be used without which it can take neither readings nor commands. `checks` tells of those that only queries need too. With `dependency`, the answer is about that one alone.',
    query: z.strictObject({
      dependency: single(error)
        .refine((name) => names.includes(name), { error })
        .optional()
        .meta({ description: `One of \`checks\`: ${names.join(', ')}.` }),
    }),
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
    async handle({ context, query }) {
      if (closing()) throw new HttpProblem('not-ready', 'The server is shutting down');
      const asked = query.dependency === undefined ? names : [query.dependency];
      const { correlationId } = context.caller;
      const passed = await Promise.all(asked.map((name) => passes(name, correlationId)));
      const told = Object.fromEntries(asked.map((name, i) => [name, passed[i] ? 'ok' : 'failed']));
      const missing = asked.filter((name, i) => !passed[i] && (query.dependency === name || isNeeded(name)));
      if (missing.length > 0)
        throw new HttpProblem('not-ready', `Failed: ${missing.join(', ')}`, { members: { checks: told } });
      return { status: 200, json: { status: 'ready', checks: told } };
    },
  });

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
