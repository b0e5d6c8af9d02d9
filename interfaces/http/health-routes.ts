import type { Registry } from 'prom-client';
import { z } from 'zod';
import { systemStatus } from '../../application/operations/status.ts';
import type { ProgressQueries } from '../../application/ports/queries.ts';
import type { RetentionRecords } from '../../application/ports/retention.ts';
import { storageFaultOf, type WriteAheadLog } from '../../application/ports/storage.ts';
import type { Log } from '../../application/ports/system.ts';
import type { ProgressReader } from '../../application/progress.ts';
import { lagIsAtLeast } from './operation-schemas.ts';
import { HttpProblem } from './problems.ts';
import { type Route, route } from './route.ts';
import { single } from './validation.ts';

type Operation = Readiness & {
  readonly metrics: Registry;
  /** Metrics of other threads of the process, in the text format of Prometheus. */
  readonly moreMetrics: readonly (() => Promise<string>)[];
  /** Stalled parts, one sentence each; restarting the process should help. */
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
      summary: 'Liveness: the process answers and its projectors make progress',
      description:
        '503 while a projector of this process stands still although events wait; the servers it depends on are not asked.',
      responses: {
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
      alsoAccepts: 'metrics-token',
      tag: 'Operation',
      summary: 'Metrics for Prometheus',
      responses: { 200: { description: 'Text format 0.0.4.', content: { 'text/plain': z.string() } } },
      async handle({ res }) {
        const texts = await Promise.all([metrics.metrics(), ...moreMetrics.map((read) => read())]);
        res.set('Content-Type', metrics.contentType).end(oneExposition(texts));
        return undefined;
      },
    }),
  ];
}

/**
 * Expositions of several threads as one. A metric that more than one of them has is described once, with the
 * samples of all in one group: parsers of the text format refuse a second `# TYPE`.
 */
function oneExposition(texts: readonly string[]): string {
  const families = new Map<string, string[]>();
  for (const family of texts.flatMap((text) => text.trim().split(/\n+(?=# HELP )/))) {
    const [description = ''] = /^# HELP .*\n# TYPE .*/.exec(family) ?? [];
    const samples = family.slice(description.length).trim();
    const known = families.get(description) ?? [];
    families.set(description, samples === '' ? known : [...known, samples]);
  }
  return [...families]
    .map(([description, samples]) => [description, ...samples].filter(Boolean).join('\n'))
    .join('\n\n')
    .concat('\n');
}

/** Dependencies by name; each call rejects when it cannot be used. */
export type Checks = Readonly<Record<string, () => Promise<void>>>;

type Readiness = {
  readonly checks: Checks;
  /** Of the dependencies, those without which the process is of no use; all of them when absent. */
  readonly needed?: readonly string[] | undefined;
  readonly log: Log;
  readonly closing: () => boolean;
};

const checkWithin = 2000;

/** `reason` is for operators, and says what they can mend; it is missing for an outage. */
type Fault = { readonly message: string; readonly reason: string | undefined };

function readinessRoute({ checks, needed, log, closing }: Readiness): Route {
  const names = Object.keys(checks);
  const isNeeded = (name: string) => needed?.includes(name) ?? true;
  /** By dependency, what is wrong and was logged. */
  const reported = new Map<string, string>();
  const error = `must be one of ${names.join(', ')}`;

  return route({
    method: 'get',
    path: '/health/ready',
    scope: 'public',
    tag: 'Operation',
    summary: 'Readiness: requests can be served now',
    description:
      '503 while the server shuts down, or a dependency cannot be used without which it can take neither readings nor commands. `checks` tells of those that only queries need too. With `dependency`, the answer is about that one alone.',
    query: z.strictObject({
      dependency: single(error)
        .refine((name) => names.includes(name), { error })
        .optional()
        .meta({ enum: names, description: `One of \`checks\`: ${names.join(', ')}.` }),
    }),
    responses: {
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
      const faults = await Promise.all(asked.map((name) => faultOf(name, correlationId)));
      const checks = Object.fromEntries(asked.map((name, i) => [name, faults[i] ? 'failed' : 'ok']));
      const missing = asked.flatMap((name, i) => {
        const fault = faults[i];
        if (!fault || !(query.dependency === name || isNeeded(name))) return [];
        return [fault.reason === undefined ? name : `${name} (${fault.reason})`];
      });
      if (missing.length > 0)
        throw new HttpProblem('not-ready', `Failed: ${missing.join(', ')}`, { members: { checks } });
      return { status: 200, json: { status: 'ready', checks } };
    },
  });

  async function faultOf(name: string, correlationId: string): Promise<Fault | undefined> {
    const timeout = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => timeout.reject(new Error(`No answer within ${checkWithin} ms`)),
      checkWithin,
    );
    try {
      await Promise.race([checks[name]?.(), timeout.promise]);
      reported.delete(name);
      return undefined;
    } catch (err) {
      const { message, reason = storageFaultOf(err)?.reason } = err as Fault;
      // Probes come every few seconds: what is wrong is one line, not one for each of them.
      if (reported.get(name) !== message)
        log.warn({ correlationId, check: name, err }, 'A dependency is not ready');
      reported.set(name, message);
      return { message, reason };
    } finally {
      clearTimeout(timer);
    }
  }
}

const readings = (description: string) => z.int().min(0).meta({ description });

const kept = z
  .string()
  .optional()
  .meta({ examples: ['90d', 'forever'] });
const rows = z.int().min(0);
const time = z.iso.datetime();

const retention = z.strictObject({
  policy: z
    .array(
      z.strictObject({
        type: z.string().optional(),
        metric: z.string().optional(),
        points: kept,
        minutes: kept,
        hours: kept,
        days: kept,
      }),
    )
    .meta({ description: 'The newest policy; empty without an expiry.' }),
  since: time.nullable().meta({ description: 'From when on it counts, by the time of arrival.' }),
  sweptTo: time.nullable().meta({ description: 'Everything is gone that was too old then.' }),
  sweeping: z
    .strictObject({ to: time, after: z.string() })
    .nullable()
    .meta({ description: 'The running sweep and its current device.' }),
  endedAt: time.nullable().meta({ description: 'When the last sweep ended.' }),
  removed: z
    .strictObject({ points: rows, minutes: rows, hours: rows, days: rows, trimmed: rows })
    .meta({ description: 'Rows of the active generation; those trimmed lost a metric and stay.' }),
});

const status = z
  .strictObject({
    projections: z.array(
      z.strictObject({
        projection: z.string().meta({ examples: ['telemetry'] }),
        generation: z.int().meta({ description: 'Which of the built copies is read.' }),
        version: z.int(),
        positions: z.array(z.string()).meta({ description: 'Consumed up to here, one for each partition.' }),
        lag: z
          .int()
          .nullable()
          .meta({ description: 'Events not consumed yet; null while the log does not answer in 50 ms.' }),
        lagIsAtLeast,
        deadLetters: z.record(z.string(), z.int()).meta({ description: 'Those waiting, by cause.' }),
      }),
    ),
    ledger: z
      .strictObject({
        stored: readings('Kept as new.'),
        duplicate: readings('Said nothing new.'),
        corrected: readings('Changed one that was there, or added to it.'),
        deadLettered: readings('Could not be applied.'),
        late: readings('Older than points are kept when they came.'),
        retracted: readings('Of those stored, taken back later.'),
        expired: readings('Of those stored, removed since points are kept no longer.'),
      })
      .meta({ description: 'What became of the readings consumed so far: each is counted once.' }),
    retention: retention.meta({
      description: 'Retention of points and rollups, and what has been removed.',
    }),
    writeAheadLog: z
      .strictObject({
        bytes: z.int(),
        isHeld: z
          .boolean()
          .meta({ description: "A transaction that reads, such as an analyst's, keeps it growing: end it." }),
      })
      .nullable()
      .meta({ description: 'Of the embedded read models; `null` where they are in MySQL or MariaDB.' }),
  })
  .meta({ id: 'Status' });

export const statusRoute = (
  progress: ProgressQueries,
  freshness: ProgressReader,
  records: Pick<RetentionRecords, 'schedule' | 'activeSweep'>,
  log: WriteAheadLog | undefined,
): Route =>
  route({
    method: 'get',
    path: '/api/v1/status',
    scope: 'operate',
    tag: 'Operation',
    summary: 'Progress of the projections, consumer lag, dead letters and the ledger',
    responses: { 200: { description: 'As it is now.', content: { 'application/json': status } } },
    handle: async () => ({ status: 200, json: await systemStatus(progress, freshness, records, log) }),
  });
