import type { Request, Response } from 'express';
import { z } from 'zod';
import type { LiveLog } from '../../application/live/live-position.ts';
import type { LiveEnd, LiveSelection, LiveSink } from '../../application/live/live-stream.ts';
import type { LiveStreams } from '../../application/live/live-streams.ts';
import type { SavedQueries } from '../../application/live/saved-queries.ts';
import type { Scope } from '../../application/ports/api-keys.ts';
import { Rejection } from '../../domain/decider.ts';
import { usualAggregates } from '../../domain/rollup.ts';
import { type Access, requireScopes } from './access.ts';
import { confined } from './device-bounds.ts';
import { deviceFilterOf } from './device-query-routes.ts';
import {
  type LiveKind,
  liveKinds,
  liveParameters,
  livePositions,
  liveScopes,
  liveSelection,
} from './live-parameters.ts';
import { HttpProblem } from './problems.ts';
import type { RequestContext } from './request-context.ts';
import { type Route, route } from './route.ts';
import { queryOf } from './validation.ts';

const headers = z.object({
  'last-event-id': livePositions.optional().meta({ description: 'As `from`, which it goes before.' }),
});

const logOfKind: Readonly<Record<Exclude<LiveKind, 'buckets'>, LiveLog>> = {
  readings: 'telemetry',
  devices: 'devices',
  alarms: 'alarms',
};

/** What is asked for, even where it is not valid: the scopes are checked before the request is. */
function scopesOf(url: string): readonly Scope[] {
  const { query, events = 'readings' } = queryOf(url);
  // What a saved query needs is known, and checked, when it has been read.
  if (query !== undefined) return [];
  const asked = [events].flat().flatMap((text) => text.split(','));
  const known = liveKinds.filter((kind) => asked.includes(kind));
  return known.length === 0 ? ['telemetry:read'] : liveScopes(known);
}

/** Milliseconds between looks whether the key of a stream still is one. */
const checkKeyEvery = 2000;

export function liveRoute(live: LiveStreams, queries: Pick<SavedQueries, 'find'>, access: Access): Route {
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
    query: liveParameters,
    headers,
    responses: {
      200: {
        description: 'Events as they come, until the connection is closed.',
        content: { 'text/event-stream': z.string(), 'application/x-ndjson': z.string() },
      },
    },
    problems: [
      'subscription-expired',
      'too-many-streams',
      'live-streams-full',
      'not-acceptable',
      'live-query-not-found',
    ],
    async handle({ req, res, context, query, headers }) {
      const format = formatOf(req);
      const holder = context.identity.is === 'key' ? context.identity.key.name : '';
      const chosen = query.query === undefined ? query : await saved(query.query);
      const { events = ['readings'], interval = '1m', aggregate = usualAggregates } = chosen;
      const scopes = liveScopes(events);
      requireScopes(context, scopes);
      const asked = headers['last-event-id'] ?? query.from;
      const from = await live.start(asked, holder);
      const sources = liveKinds.flatMap((kind) =>
        kind !== 'buckets' && events.includes(kind) ? [logOfKind[kind]] : [],
      );
      const selection: LiveSelection = {
        sources,
        ...(events.includes('buckets') && { buckets: { level: interval, aggregates: aggregate } }),
        devices: confined(deviceFilterOf(chosen), context),
        ...(chosen.deviceId && { deviceIds: new Set(chosen.deviceId) }),
        ...(chosen.metric && { metrics: new Set(chosen.metric) }),
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
      keys.add(sink, context, scopes);
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

  async function saved(name: string): Promise<z.output<typeof liveSelection>> {
    const found = await queries.find(name);
    if (!found) throw new Rejection('LiveQueryNotFound', `There is no live query ${name}`);
    return liveSelection.parse(found.parameters);
  }
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
