import type { SystemStatus } from '../../../application/operations/status.ts';
import type { MetricValue } from '../../../domain/telemetry.ts';
import type { ApiClient } from '../api-client.ts';
import { ServerUnavailable } from '../exit-codes.ts';
import { counted } from '../format.ts';
import { pause } from '../pause.ts';
import type { Fleet } from './fleet.ts';
import { addPoint, isSameSum, noPoints, type PointSum } from './point-sum.ts';
import type { Sent } from './send-fleet.ts';

type Point = { readonly timestamp: string; readonly metric: string; readonly value: MetricValue };
export type Ledger = SystemStatus['ledger'];

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
    addPoint(sum, Date.parse(point.timestamp), point.metric, point.value);
  }
  return sum;
}

function difference(deviceId: string, accepted: PointSum, found: PointSum): string {
  if (accepted.points === found.points) return `${deviceId}: found other values than were accepted`;
  const told = ({ readings, points }: PointSum) =>
    `${counted(readings, 'reading')} with ${counted(points, 'point')}`;
  return `${deviceId}: accepted ${told(accepted)}, found ${told(found)}`;
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
