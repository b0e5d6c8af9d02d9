import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { pause } from '../../../application/pause.ts';
import { type ApiClient, ApiRefusal, type SentPositions, sentPositions } from '../api-client.ts';
import { addToSum, type Fleet, type FleetReading, noPoints, type PointSum } from './fleet.ts';

type Pace = {
  readonly readingsPerSecond: number;
  readonly batch: number;
  readonly connections: number;
  /** When it is over even if not all is sent, in milliseconds from the start. */
  readonly milliseconds: number;
};

/** What the server has answered so far. */
export type Sent = {
  readonly perDevice: readonly PointSum[];
  readonly positions: SentPositions;
  /** Of answers, in microseconds. */
  readonly latency: RecordableHistogram;
  readonly rejections: Map<string, number>;
  accepted: number;
  rejected: number;
  /** Readings accepted at least once. */
  distinct: number;
  requests: number;
};

type IngestAnswer = {
  readonly errors: readonly { readonly index: number; readonly detail: string }[];
  readonly positions: readonly string[];
};

const mostInRequest = 5000;

export const nothingSent = (devices: number): Sent => ({
  perDevice: Array.from({ length: devices }, noPoints),
  positions: sentPositions(),
  latency: createHistogram(),
  rejections: new Map(),
  accepted: 0,
  rejected: 0,
  distinct: 0,
  requests: 0,
});

/** Sends batches as they fall due, over several connections at once. Ends early when `signal` is aborted. */
export async function sendFleet(
  fleet: Fleet,
  client: ApiClient,
  pace: Pace,
  sent: Sent,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  let batches = 0;
  await Promise.all(Array.from({ length: pace.connections }, sendDue));

  async function sendDue(): Promise<void> {
    for (;;) {
      const due = started + (batches * pace.batch * 1000) / pace.readingsPerSecond;
      const readings = fleet.take(pace.batch);
      if (readings.length === 0) return;
      batches += 1;
      await pause(due - performance.now(), signal);
      if (signal.aborted || performance.now() > started + pace.milliseconds) return;
      for (let at = 0; at < readings.length; at += mostInRequest)
        await send(readings.slice(at, at + mostInRequest));
    }
  }

  async function send(readings: readonly FleetReading[]): Promise<void> {
    const asked = performance.now();
    const body = readings.map(({ reading }) => reading);
    const { errors, positions } = await client
      .send<IngestAnswer>('POST', '/api/v1/telemetry', body)
      .catch(asNoneAccepted);
    sent.latency.record(Math.max(1, Math.round((performance.now() - asked) * 1000)));
    sent.requests += 1;
    sent.positions.add(positions);
    const rejected = new Set(errors.map(({ index }) => index));
    for (const { detail } of errors) sent.rejections.set(detail, (sent.rejections.get(detail) ?? 0) + 1);
    sent.rejected += rejected.size;
    sent.accepted += readings.length - rejected.size;
    for (const [index, reading] of readings.entries()) if (!rejected.has(index)) countOnce(reading);
  }

  function countOnce(one: FleetReading): void {
    if (one.isAccepted) return;
    one.isAccepted = true;
    sent.distinct += 1;
    const sum = sent.perDevice[one.device] as PointSum;
    sum.readings += 1;
    const { timestamp, metrics } = one.reading;
    for (const [metric, value] of Object.entries(metrics)) addToSum(sum, timestamp, metric, value);
  }
}

/** The answer to a request of which no reading was accepted is a problem that says so of each. */
function asNoneAccepted(error: unknown): IngestAnswer {
  if (!(error instanceof ApiRefusal) || error.problem.accepted !== 0) throw error;
  return { errors: error.problem.errors as IngestAnswer['errors'], positions: [] };
}
