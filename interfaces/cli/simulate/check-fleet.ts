import type { SystemStatus } from '../../../application/operations/status.ts';
import { pause } from '../../../application/pause.ts';
import type { MetricValue } from '../../../domain/telemetry.ts';
import type { ApiClient } from '../api-client.ts';
import { ServerUnavailable } from '../exit-codes.ts';
import { count, counted, perSecond, seconds } from '../terminal.ts';
import { addToSum, type Fleet, isSameSum, noPoints, type PointSum } from './fleet.ts';
import type { Sent } from './send-fleet.ts';

type Point = { readonly timestamp: string; readonly metric: string; readonly value: MetricValue };
type Ledger = SystemStatus['ledger'];

export type Checked = {
  /** What the ledger has gained. */
  readonly ledger: Ledger;
  /** What does not add up, one line each. */
  readonly differences: readonly string[];
};

const atOnce = 4;
const mostPoints = 10_000_000;

/**
 * Compares what was accepted with what queries find and with what the ledger has gained since `before`. `uncertain`
 * readings may have been accepted although their answer was lost.
 */
export async function checkFleet(
  fleet: Fleet,
  sent: Sent,
  before: Ledger,
  uncertain: number,
  client: ApiClient,
): Promise<Checked> {
  await sent.positions.untilProjected(client);
  const differences = await differingDevices(fleet, sent, client);
  const { ledger: after } = await client.get<SystemStatus>('/api/v1/status');
  const ledger = gained(before, after);
  const fault = ledgerFault(ledger, sent.accepted, uncertain);
  return { ledger, differences: fault === undefined ? differences : [...differences, fault] };
}

/** The ledger once all telemetry has been consumed. Throws `ServerUnavailable` when that takes longer than `within`. */
export async function settledLedger(client: ApiClient, within: number, signal: AbortSignal): Promise<Ledger> {
  const deadline = Date.now() + within;
  for (;;) {
    const { projections, ledger } = await client.get<SystemStatus>('/api/v1/status');
    const behind = projections.filter(({ projection, lag }) => projection === 'telemetry' && lag !== 0);
    if (behind.length === 0) return ledger;
    if (Date.now() > deadline)
      throw new ServerUnavailable(
        `${client.url} has telemetry it does not consume: \`fieldlog projections list\` shows why`,
      );
    await pause(100, signal);
    signal.throwIfAborted();
  }
}

/** What a query finds differently from what was accepted, one line a device. */
async function differingDevices(fleet: Fleet, sent: Sent, client: ApiClient): Promise<readonly string[]> {
  const differing: string[] = [];
  const waiting = fleet.devices.entries();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [index, { deviceId }] of waiting) {
        const accepted = sent.perDevice[index] as PointSum;
        const found = await foundOf(deviceId, fleet.range, client);
        if (!isSameSum(accepted, found)) differing.push(difference(deviceId, accepted, found));
      }
    }),
  );
  return differing.sort();
}

async function foundOf(deviceId: string, range: Fleet['range'], client: ApiClient): Promise<PointSum> {
  const sum = noPoints();
  let last = '';
  const path = `/api/v1/devices/${deviceId}/telemetry`;
  for await (const point of client.rows<Point>(path, { ...range, limit: mostPoints })) {
    if (point.timestamp !== last) sum.readings += 1;
    last = point.timestamp;
    addToSum(sum, Date.parse(point.timestamp), point.metric, point.value);
  }
  return sum;
}

function difference(deviceId: string, accepted: PointSum, found: PointSum): string {
  if (accepted.points === found.points) return `${deviceId}: found other values than were accepted`;
  const sumText = ({ readings, points }: PointSum) =>
    `${counted(readings, 'reading')} with ${counted(points, 'point')}`;
  return `${deviceId}: accepted ${sumText(accepted)}, found ${sumText(found)}`;
}

const gained = (before: Ledger, after: Ledger): Ledger => ({
  stored: after.stored - before.stored,
  duplicate: after.duplicate - before.duplicate,
  corrected: after.corrected - before.corrected,
  deadLettered: after.deadLettered - before.deadLettered,
  late: after.late - before.late,
  retracted: after.retracted - before.retracted,
  expired: after.expired - before.expired,
});

/** Every accepted reading was consumed and counted once. */
function ledgerFault(ledger: Ledger, accepted: number, uncertain: number): string | undefined {
  const consumed = ledger.stored + ledger.duplicate + ledger.corrected + ledger.deadLettered + ledger.late;
  if (ledger.deadLettered > 0) return `${counted(ledger.deadLettered, 'reading')} became dead letters`;
  if (consumed < accepted)
    return `the ledger has ${accepted - consumed} fewer than the ${counted(accepted, 'reading')} accepted`;
  if (consumed <= accepted + uncertain) return undefined;
  return `the ledger has ${consumed - accepted} more than the ${counted(accepted, 'reading')} accepted: did something else send meanwhile?`;
}

/** Without what was checked where nothing was. */
type SimulationReport = {
  readonly url: string;
  readonly seed: number;
  readonly devices: number;
  readonly seconds: number;
  readonly planned: number;
  readonly accepted: number;
  /** Accepted at least once. */
  readonly distinct: number;
  readonly rejected: number;
  readonly rejections: Readonly<Record<string, number>>;
  readonly sentTwice: number;
  readonly sentLate: number;
  readonly requests: number;
  readonly milliseconds: Readonly<Record<'p50' | 'p95' | 'p99' | 'max', number>>;
} & Partial<Checked>;

export function simulationReport(
  plan: { readonly url: string; readonly seed: number; readonly planned: number },
  fleet: Fleet,
  sent: Sent,
  milliseconds: number,
  checked: Partial<Checked>,
): SimulationReport {
  const { accepted, distinct, rejected, requests } = sent;
  return {
    ...plan,
    devices: fleet.devices.length,
    seconds: Math.round(milliseconds) / 1000,
    accepted,
    distinct,
    rejected,
    rejections: Object.fromEntries(sent.rejections),
    sentTwice: fleet.sentTwice,
    sentLate: fleet.sentLate,
    requests,
    milliseconds: latencyOf(sent),
    ...checked,
  };
}

export function simulationProgress({ accepted, rejected, ...sent }: Sent, milliseconds: number): string {
  const rate = perSecond(accepted, milliseconds);
  return `${seconds(milliseconds)}, ${count(accepted)} accepted, ${count(rejected)} rejected, ${rate}, ${latencyText(latencyOf(sent))}`;
}

const shownDifferences = 20;

export function simulationSummary(report: SimulationReport): string {
  const { accepted, distinct, planned, rejected, differences, ledger } = report;
  const milliseconds = report.seconds * 1000;
  const lines = [
    `Sent ${counted(distinct, 'reading')} of ${counted(report.devices, 'device')} in ${seconds(milliseconds)}, ` +
      `${perSecond(distinct, milliseconds)}: ${report.url}`,
    `accepted ${count(accepted)} with ${count(report.sentTwice)} sent twice and ${count(report.sentLate)} late, ` +
      `rejected ${count(rejected)}, ${counted(report.requests, 'request')}, ${latencyText(report.milliseconds)}`,
  ];
  if (distinct + rejected < planned)
    lines.push(`That is less than the ${counted(planned, 'reading')} there were to send.`);
  for (const [reason, readings] of Object.entries(report.rejections))
    lines.push(`  ${count(readings)}: ${reason}`);
  if (differences?.length === 0)
    lines.push(`All ${counted(distinct, 'reading')} were found by query, value by value.`);
  if (ledger)
    lines.push(
      `The ledger counts ${count(ledger.stored)} stored, ${count(ledger.duplicate)} duplicate, ` +
        `${count(ledger.corrected)} corrected, ${count(ledger.deadLettered)} dead-lettered.`,
    );
  if (differences && differences.length > 0) lines.push(`${counted(differences.length, 'difference')}:`);
  for (const difference of differences?.slice(0, shownDifferences) ?? []) lines.push(`  ${difference}`);
  return `${lines.join('\n')}\n`;
}

function latencyOf({ latency }: Pick<Sent, 'latency'>): SimulationReport['milliseconds'] {
  const [p50 = 0, p95 = 0, p99 = 0] = [50, 95, 99].map((share) => latency.percentile(share) / 1000);
  return { p50, p95, p99, max: latency.max / 1000 };
}

const latencyText = ({ p50, p95, p99 }: SimulationReport['milliseconds']): string =>
  `answered in p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)} ms`;
