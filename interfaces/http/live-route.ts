import type { Request, Response } from 'express';
import { z } from 'zod';
import { emptyPosition, type LiveLog } from '../../application/live/live-position.ts';
import type { LiveEnd, LiveSelection, LiveSink } from '../../application/live/live-stream.ts';
import type { AskedPosition, LiveStreams } from '../../application/live/live-streams.ts';
import type { Scope } from '../../application/ports/api-keys.ts';
import { rollupLevels, usualAggregates } from '../../domain/rollup.ts';
import type { Access } from './access.ts';
import { confined } from './device-bounds.ts';
import { deviceFilterOf, deviceFilterParameters } from './device-query-routes.ts';
import { HttpProblem } from './problems.ts';
import type { RequestContext } from './request-context.ts';
import { type Route, route } from './route.ts';
import { aggregateParameter, metricParameter } from './telemetry-schemas.ts';
import { deviceId, list, queryOf, single } from './validation.ts';

const kinds = ['readings', 'buckets', 'devices', 'alarms'] as const;
type Kind = (typeof kinds)[number];

const kindError = `must be of ${kinds.join(', ')}`;
const whole = '(?:0|[1-9]\\d{0,19})';
const positionForm = new RegExp(
  `^(devices|telemetry|alarms|buckets):(?:(\\d{1,9}):(${whole}(?:-${whole}){0,3})|${emptyPosition})$`,
);
const fromError = 'must be the id of an event of a live stream, or positions such as telemetry:0:42';

const positions = single(fromError)
  .transform((given, context): readonly AskedPosition[] => {
    if (given === emptyPosition) return [];
    const parts = given.split(',').map((part) => positionForm.exec(part));
    if (parts.length <= 2000 && parts.every((part) => part !== null))
      return parts.map(([, source, partition = 0, position = null]) => ({
        source: source as AskedPosition['source'],
        partition: Number(partition),
        position,
      }));
    context.addIssue({ code: 'custom', message: fromError, input: given });
    return z.NEVER;
  })
  .meta({ examples: ['telemetry:0:42'] });

const intervalError = `must be ${rollupLevels.join(', ')}`;

const parameters = z
  .strictObject({
    events: list(z.enum(kinds, { error: kindError }), kindError)
      .default(['readings'])
      .meta({ description: 'What is sent: repeated, or with commas. readings when absent.' }),
    deviceId: list(deviceId, 'must be at most 100 devices')
      .optional()
      .meta({ description: 'These devices only: repeated, or with commas. All when absent.' }),
    ...deviceFilterParameters.shape,
    metric: metricParameter,
    interval: z
      .enum(rollupLevels, { error: intervalError })
      .optional()
      .meta({ description: 'Of buckets, by the calendar of UTC; 1m when absent.' }),
    aggregate: aggregateParameter,
    from: positions.optional().meta({
      description:
        'Continue behind this: the `id` of an event, or the `Fieldlog-Position` of a query. Begins with a snapshot when absent.',
    }),
  })
  .superRefine(({ events, ...given }, context) => {
    if (events.includes('buckets') && events.includes('readings'))
      context.addIssue({
        code: 'custom',
        path: ['events'],
        message: 'must have buckets or readings: each is a stream of its own',
        input: events,
      });
    for (const name of ['interval', 'aggregate'] as const)
      if (!events.includes('buckets') && given[name] !== undefined)
        context.addIssue({
          code: 'custom',
          path: [name],
          message: 'needs events=buckets',
          input: given[name],
        });
  });

const headers = z.object({
  'last-event-id': positions.optional().meta({ description: 'As `from`, which it goes before.' }),
});

const scopeOfKind: Readonly<Record<Kind, Scope>> = {
  readings: 'telemetry:read',
  buckets: 'telemetry:read',
  devices: 'devices:read',
  alarms: 'devices:read',
};
const logOfKind: Readonly<Record<Exclude<Kind, 'buckets'>, LiveLog>> = {
  readings: 'telemetry',
  devices: 'devices',
  alarms: 'alarms',
};

/** What is asked for, even where it is not valid: the scopes are checked before the request is. */
function scopesOf(url: string): readonly Scope[] {
  const asked = [queryOf(url).events ?? 'readings'].flat().flatMap((text) => text.split(','));
  const known = kinds.filter((kind) => asked.includes(kind));
  return known.length === 0 ? ['telemetry:read'] : [...new Set(known.map((kind) => scopeOfKind[kind]))];
}

/** Milliseconds between looks whether the key of a stream still is one. */
const checkKeyEvery = 2000;

export function liveRoute(live: LiveStreams, access: Access): Route {
  const keys = new KeyWatch(access);
  return route({
    method: 'get',
    path: '/api/v1/live',
    scope: 'telemetry:read',
    scopesOf,
    boundKeys: 'selection',
    tag: 'Telemetry',
    summary: 'Follow readings, buckets, devices and alarms as they change',
    description:
      'A stream that can be continued where it was cut, without loss: docs/live.md. `events=devices` and `events=alarms` need `devices:read`, with readings both.',
    query: parameters,
    headers,
    responses: {
      200: {
        description: 'Events as they come, until the connection is closed.',
        content: { 'text/event-stream': z.string(), 'application/x-ndjson': z.string() },
      },
    },
    problems: ['subscription-expired', 'too-many-streams', 'live-streams-full', 'not-acceptable'],
    async handle({ req, res, context, query, headers }) {
      const format = formatOf(req);
      const holder = context.identity.is === 'key' ? context.identity.key.name : '';
      const asked = headers['last-event-id'] ?? query.from;
      const from = await live.start(asked, holder);
      const sources = kinds.flatMap((kind) =>
        kind !== 'buckets' && query.events.includes(kind) ? [logOfKind[kind]] : [],
      );
      const { interval = '1m', aggregate = usualAggregates } = query;
      const selection: LiveSelection = {
        sources,
        ...(query.events.includes('buckets') && { buckets: { level: interval, aggregates: aggregate } }),
        devices: confined(deviceFilterOf(query), context),
        ...(query.deviceId && { deviceIds: new Set(query.deviceId) }),
        ...(query.metric && { metrics: new Set(query.metric) }),
      };
      res.status(200).set({
        'Content-Type': `${format.type}; charset=utf-8`,
        'Cache-Control': 'no-store',
        'X-Accel-Buffering': 'no',
        // Whoever comes back may come to another node.
        Connection: 'close',
      });
      if (req.method === 'HEAD') return void res.end();
      res.flushHeaders();
      const sink = new ResponseSink(res, format, live.closed);
      keys.add(sink, context, scopesOf(req.url));
      const snapshot = asked === undefined && sources.includes('telemetry');
      try {
        await live.run(selection, from, { snapshot, holder }, sink);
      } finally {
        keys.remove(sink);
        sink.end('failed');
      }
      return undefined;
    },
  });
}

/** Ends streams whose keys are no longer good, or no longer have what the stream needs. One timer looks after all. */
class KeyWatch {
  readonly #access: Access;
  readonly #streams = new Map<
    LiveSink,
    { readonly context: RequestContext; readonly scopes: readonly Scope[] }
  >();
  #timer: NodeJS.Timeout | undefined;

  constructor(access: Access) {
    this.#access = access;
  }

  add(sink: LiveSink, context: RequestContext, scopes: readonly Scope[]): void {
    this.#streams.set(sink, { context, scopes });
    this.#timer ??= setInterval(() => this.#look(), checkKeyEvery);
  }

  remove(sink: LiveSink): void {
    this.#streams.delete(sink);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    for (const [sink, { context, scopes }] of this.#streams)
      this.#access.stillAdmits(context, scopes).then(
        (isGood) => isGood || sink.end('revoked'),
        // Not known while the keys cannot be read.
        () => {},
      );
  }
}

type LiveFormat = {
  readonly type: 'text/event-stream' | 'application/x-ndjson';
  event(name: string, json: string, id: string): string;
  /** Milliseconds after which the client shall come back. */
  end(retry: number): string;
};

const eventStream: LiveFormat = {
  type: 'text/event-stream',
  event: (name, json, id) => `id: ${id}\nevent: ${name}\ndata: ${json}\n\n`,
  end: (retry) => `retry: ${retry}\n\n`,
};

const lines: LiveFormat = {
  type: 'application/x-ndjson',
  event: (name, json, id) => `{"event":"${name}","id":"${id}","data":${json}}\n`,
  end: () => '',
};

function formatOf(req: Request): LiveFormat {
  const type = req.accepts([eventStream.type, lines.type]);
  const format = [eventStream, lines].find((one) => one.type === type);
  if (!format)
    throw new HttpProblem('not-acceptable', `Accept must allow ${eventStream.type} or ${lines.type}`);
  return format;
}

const retryFrom = 1000;
const retrySpread = 4000;
/** How long a client may take what was written before its stream ended. */
const takenWithin = 1000;

/** A stream as a response that is written until somebody ends it. */
class ResponseSink implements LiveSink {
  readonly #res: Response;
  readonly #format: LiveFormat;
  readonly #closing = new AbortController();
  readonly #onEnd: (reason: LiveEnd) => void;

  constructor(res: Response, format: LiveFormat, onEnd: (reason: LiveEnd) => void) {
    this.#res = res;
    this.#format = format;
    this.#onEnd = onEnd;
    if (res.destroyed) this.end('client');
    else res.once('close', () => this.end('client'));
    res.on('error', () => this.end('client'));
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  write(event: string, json: string, id: string): void {
    if (!this.closed.aborted) this.#res.write(this.#format.event(event, json, id));
  }

  pending(): number {
    return this.closed.aborted ? 0 : this.#res.writableLength;
  }

  drained(): Promise<void> {
    if (this.closed.aborted || !this.#res.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#res.off('drain', done);
        this.closed.removeEventListener('abort', done);
        resolve();
      };
      this.#res.on('drain', done);
      this.closed.addEventListener('abort', done);
    });
  }

  end(reason: LiveEnd): void {
    if (this.closed.aborted) return;
    this.#onEnd(reason);
    this.#closing.abort();
    if (reason === 'slow' || reason === 'client') return void this.#res.destroy();
    this.#res.end(this.#format.end(retryFrom + Math.floor(Math.random() * retrySpread)));
    // What a slow client has not taken would keep the connection, and make a shutdown wait for it.
    const overdue = setTimeout(() => this.#res.destroy(), takenWithin);
    this.#res.once('close', () => clearTimeout(overdue));
  }
}
