import type { ErrorRequestHandler, Response } from 'express';
import { PreviewTooLarge } from '../../application/detection/preview.ts';
import { IdempotencyKeyReused, StaleRevision } from '../../application/devices/device-commands.ts';
import { UnknownRevision } from '../../application/devices/device-stream.ts';
import { PositionExpired, TooManyStreams } from '../../application/live/live-streams.ts';
import { withoutCredentials } from '../../application/ports/api-keys.ts';
import {
  AppendTooLarge,
  EventStoreUnavailable,
  RevisionConflict,
  StreamDeleted,
  StreamUnreadable,
} from '../../application/ports/event-store.ts';
import { RebuildUnderWay, ReplayRefused } from '../../application/ports/generations.ts';
import { ReadModelsUnavailable } from '../../application/ports/read-models.ts';
import { StorageFault, storageFaultOf } from '../../application/ports/storage.ts';
import type { Log } from '../../application/ports/system.ts';
import { TelemetryLogUnavailable } from '../../application/ports/telemetry-log.ts';
import { NotYetProjected, UnknownPartition } from '../../application/progress.ts';
import { HistoryExpired } from '../../application/rebuild/expired-history.ts';
import { LogNotRead } from '../../application/telemetry/as-recorded.ts';
import { InvalidInterval, InvalidTimeZone } from '../../application/telemetry/buckets.ts';
import { Rejection, type RejectionCode } from '../../domain/decider.ts';
import { MalformedPayload, OversizedPayload } from './formats/reading-set.ts';
import { contextOf, RequestAborted } from './request-context.ts';

/** Every problem type of the API (RFC 9457). The names are part of its contract and described in docs/api-problems.md. */
export const problemKinds = {
  'invalid-request': { status: 400, title: 'The request is not valid' },
  'malformed-json': { status: 400, title: 'The request body is not valid JSON' },
  'malformed-encoding': { status: 400, title: 'The request body cannot be decoded' },
  'key-required': { status: 401, title: 'Missing or invalid credentials' },
  'scope-missing': { status: 403, title: 'The key lacks the required scope' },
  'foreign-origin': { status: 403, title: 'The request comes from a page of another origin' },
  'not-this-device': { status: 403, title: 'The token belongs to another device' },
  'device-not-registered': { status: 404, title: 'The device is not registered' },
  'outside-key': { status: 403, title: 'The key is for other devices' },
  'rule-not-found': { status: 404, title: 'There is no such rule' },
  'live-query-not-found': { status: 404, title: 'There is no such live query' },
  'hook-not-found': { status: 404, title: 'There is no such hook' },
  'alarm-not-found': { status: 404, title: 'There is no such alarm' },
  'not-found': { status: 404, title: 'Not found' },
  'method-not-allowed': { status: 405, title: 'Method not allowed' },
  'not-acceptable': { status: 406, title: 'None of the accepted media types is available' },
  'device-already-registered': { status: 409, title: 'The device is already registered' },
  'rule-already-exists': { status: 409, title: 'The rule already exists' },
  'hook-already-exists': { status: 409, title: 'The hook already exists' },
  'hook-removed': { status: 409, title: 'The hook is removed' },
  'rule-removed': { status: 409, title: 'The rule is removed' },
  'device-suspended': { status: 409, title: 'The device is suspended' },
  'device-decommissioned': { status: 409, title: 'The device is decommissioned' },
  'readings-refused': { status: 409, title: 'No reading was accepted' },
  'concurrent-changes': { status: 409, title: 'Too many concurrent changes' },
  'rebuild-under-way': { status: 409, title: 'The projection is already being rebuilt' },
  'history-expired': { status: 409, title: 'Part of the history has expired from the log' },
  'replay-refused': { status: 409, title: 'Operation not possible in the current state' },
  'device-stream-deleted': { status: 410, title: 'The event stream was deleted in the event store' },
  'device-stream-unreadable': { status: 409, title: 'The event stream cannot be read' },
  'stale-revision': { status: 412, title: 'It has been changed since that revision' },
  'body-too-large': { status: 413, title: 'The request body is too large' },
  'too-many-items': { status: 413, title: 'The request body has too many items' },
  'unsupported-media-type': { status: 415, title: 'Unsupported media type' },
  'wrong-host': { status: 421, title: 'The server does not answer to this host' },
  'preview-too-large': { status: 422, title: 'Too many readings to preview' },
  'idempotency-key-reused': { status: 422, title: 'The Idempotency-Key was used for a different request' },
  'lines-refused': { status: 422, title: 'No line was accepted' },
  'samples-rejected': { status: 400, title: 'Some samples were rejected, the others are stored' },
  'rate-limited': { status: 429, title: 'Rate limit exceeded' },
  'too-many-streams': { status: 429, title: 'The key has too many live streams' },
  'live-streams-full': { status: 503, title: 'The server has too many live streams' },
  'subscription-expired': { status: 410, title: 'The log no longer has what follows this position' },
  'too-many-queries': { status: 429, title: 'Too many queries are running' },
  'too-many-imports': { status: 429, title: 'Another file is being imported' },
  'internal-error': { status: 500, title: 'Internal error' },
  'not-yet-projected': { status: 503, title: 'Read model has not caught up' },
  'dependency-unavailable': { status: 503, title: 'A required server is unavailable' },
  'storage-full': { status: 503, title: 'The disk is full' },
  'storage-damaged': { status: 500, title: 'A file of the store is damaged' },
  'history-not-read': { status: 503, title: 'The log could not be read for this query' },
  'not-live': { status: 503, title: 'A part of this process is not making progress' },
  'not-ready': { status: 503, title: 'This server is not ready' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemKind = keyof typeof problemKinds;

/** What is wrong with one value; `path` is a JSON Pointer into the part of the request that `in` names. */
export type ValidationIssue = {
  readonly in: 'body' | 'path' | 'query' | 'header';
  readonly path: string;
  readonly detail: string;
};

type Extras = {
  /** Further members of the problem. */
  readonly members?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
};

/** A problem that the HTTP layer itself raises; errors of the layers below are translated by `problemOf`. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly kind: ProblemKind;
  readonly extras: Extras;

  constructor(kind: ProblemKind, detail: string, extras: Extras = {}) {
    super(detail);
    this.kind = kind;
    this.extras = extras;
  }
}

/** Who made more mistakes than this will find the pattern. */
export const maxReportedIssues = 100;

export function invalidRequest(issues: readonly ValidationIssue[]): HttpProblem {
  const reported = issues.slice(0, maxReportedIssues);
  const [first] = reported;
  const where = first && `${first.in}${first.path}`;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  return new HttpProblem('invalid-request', `${where}: ${first?.detail}${more}`, {
    members: { errors: reported },
  });
}

export const problemType = (kind: ProblemKind): string => `https://fieldlog.dev/problems/${kind}`;

const rejections: Record<RejectionCode, ProblemKind> = {
  DeviceAlreadyRegistered: 'device-already-registered',
  DeviceNotRegistered: 'device-not-registered',
  DeviceIsSuspended: 'device-suspended',
  DeviceIsDecommissioned: 'device-decommissioned',
  RuleAlreadyExists: 'rule-already-exists',
  RuleNotFound: 'rule-not-found',
  RuleIsRemoved: 'rule-removed',
  HookAlreadyExists: 'hook-already-exists',
  HookNotFound: 'hook-not-found',
  HookIsRemoved: 'hook-removed',
  AlarmNotFound: 'alarm-not-found',
  LiveQueryNotFound: 'live-query-not-found',
};

/** The one place where an error becomes a problem. */
export function problemOf(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof Rejection) return new HttpProblem(rejections[error.code], error.message);
  if (error instanceof StaleRevision)
    return new HttpProblem('stale-revision', error.message, { members: { revision: error.current } });
  if (error instanceof IdempotencyKeyReused) return new HttpProblem('idempotency-key-reused', error.message);
  if (error instanceof PreviewTooLarge)
    return new HttpProblem('preview-too-large', error.message, { members: { limit: error.limit } });
  if (error instanceof RevisionConflict) return new HttpProblem('concurrent-changes', error.message);
  if (error instanceof InvalidInterval || error instanceof InvalidTimeZone) {
    const path = error instanceof InvalidInterval ? '/interval' : '/tz';
    return invalidRequest([{ in: 'query', path, detail: error.message }]);
  }
  if (error instanceof UnknownRevision)
    return invalidRequest([{ in: 'query', path: '/at', detail: error.message }]);
  if (error instanceof UnknownPartition)
    return invalidRequest([{ in: 'query', path: '/waitFor', detail: error.message }]);
  if (error instanceof RebuildUnderWay)
    return new HttpProblem('rebuild-under-way', error.message, { members: { runner: error.runner } });
  if (error instanceof HistoryExpired)
    return new HttpProblem('history-expired', error.message, {
      members: { readings: error.readings, from: error.from && new Date(error.from).toISOString() },
    });
  if (error instanceof ReplayRefused) return new HttpProblem('replay-refused', error.message);
  if (error instanceof NotYetProjected)
    return new HttpProblem('not-yet-projected', error.message, {
      members: { lag: error.lag },
      headers: { 'Retry-After': '1' },
    });
  if (error instanceof PositionExpired) return new HttpProblem('subscription-expired', error.message);
  if (error instanceof TooManyStreams)
    return new HttpProblem(error.of === 'key' ? 'too-many-streams' : 'live-streams-full', error.message, {
      members: { limit: error.limit },
      headers: { 'Retry-After': '5' },
    });
  if (error instanceof LogNotRead)
    return new HttpProblem('history-not-read', error.message, { headers: { 'Retry-After': '5' } });
  const fault = storageFaultOf(error);
  // Only who asks for something large needs to know where the disk is.
  if (error instanceof StorageFault && fault?.kind === 'full')
    return new HttpProblem('storage-full', error.reason, { headers: { 'Retry-After': '30' } });
  if (fault?.kind === 'full')
    return new HttpProblem(
      'storage-full',
      'The disk of the server is full: nothing was stored; try again later',
      {
        headers: { 'Retry-After': '30' },
      },
    );
  if (fault)
    return new HttpProblem(
      'storage-damaged',
      'A file of the store is damaged and has to be restored by an operator',
    );
  if (error instanceof TelemetryLogUnavailable)
    return unavailable('The telemetry log', Math.ceil(error.retryAfter));
  if (error instanceof EventStoreUnavailable) return unavailable('The event store', 1);
  if (error instanceof StreamDeleted) return new HttpProblem('device-stream-deleted', error.message);
  if (error instanceof StreamUnreadable) {
    const { stream, revision, eventType } = error;
    return new HttpProblem('device-stream-unreadable', error.message, {
      members: { stream, revision, eventType },
    });
  }
  if (error instanceof AppendTooLarge)
    return new HttpProblem('body-too-large', error.message, { members: { limit: error.limit } });
  if (error instanceof MalformedPayload)
    return invalidRequest([{ in: 'body', path: '', detail: error.message }]);
  if (error instanceof OversizedPayload)
    return new HttpProblem('too-many-items', error.message, { members: { limit: error.limit } });
  if (error instanceof ReadModelsUnavailable) return unavailable('The read model', 1);
  if (error instanceof URIError)
    return invalidRequest([{ in: 'path', path: '', detail: 'must be valid percent-encoding of UTF-8' }]);
  return new HttpProblem('internal-error', 'The request failed; the log says why under its correlation id');
}

function unavailable(what: string, retryAfter: number): HttpProblem {
  return new HttpProblem('dependency-unavailable', `${what} cannot be reached now; try again`, {
    headers: { 'Retry-After': String(retryAfter) },
  });
}

function sendProblem(res: Response, { kind, message, extras }: HttpProblem): void {
  const { status, title } = problemKinds[kind];
  const { correlationId } = contextOf(res).caller;
  res.status(status).set(extras.headers ?? {});
  res.type('application/problem+json');
  res.end(
    JSON.stringify({
      type: problemType(kind),
      title,
      status,
      detail: message,
      instance: withoutCredentials(res.req.originalUrl.split('?', 1)[0] ?? ''),
      correlationId,
      ...extras.members,
    }),
  );
}

/** Express's error handler, known to it by its four parameters. */
export function problems(log: Log): ErrorRequestHandler {
  return (error, req, res, _next) => {
    if (error instanceof RequestAborted) return;
    const problem = problemOf(error);
    const { caller, route } = contextOf(res);
    const fields = { correlationId: caller.correlationId, method: req.method, route, err: error };
    if (problem.kind === 'internal-error') log.error(fields, 'A request failed unexpectedly');
    else if (res.headersSent) log.warn(fields, 'An answer broke off');
    else if (problemKinds[problem.kind].status === 503) log.warn(fields, 'A request could not be served now');
    if (!res.headersSent) return sendProblem(res, problem);
    // A truncated response must not look complete.
    res.destroy();
  };
}
