import type { SystemStatus } from '../../../application/system-status.ts';
import type { MetricValue } from '../../../domain/telemetry/reading.ts';
import { type ApiClient, ApiRefusal } from '../api-client.ts';
import { counted } from '../format.ts';
import type { Fleet } from './fleet.ts';
import { addPoint, isSameSum, noPoints, type PointSum } from './point-sum.ts';
import type { Sent } from './send-fleet.ts';

type Point = { readonly timestamp: string; readonly metric: string; readonly value: MetricValue };
export type Ledger = SystemStatus['ledger'];

const atOnce = 4;
const mostPoints = 10_000_000;

/** What a query finds differently from what was accepted, one line a device. */
export async function differingDevices(
  fleet: Fleet,
  sent: Sent,
  client: ApiClient,
): Promise<readonly string[]> {
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
  return `${deviceId}: accepted ${counted(accepted.readings, 'reading')}, found ${found.readings} with ${counted(found.points, 'point')}`;
}

/** The ledger as it is now; `undefined` from a server that does not tell. */
export async function ledgerOf(client: ApiClient): Promise<Ledger | undefined> {
  try {
    return (await client.get<SystemStatus>('/api/v1/status')).ledger;
  } catch (error) {
    if (error instanceof ApiRefusal && error.status === 404) return undefined;
    throw error;
  }
}

/** What the ledger has gained from one moment to another. */
export const gained = (before: Ledger, after: Ledger): Ledger => ({
  stored: after.stored - before.stored,
  duplicate: after.duplicate - before.duplicate,
  corrected: after.corrected - before.corrected,
  deadLettered: after.deadLettered - before.deadLettered,
  retracted: after.retracted - before.retracted,
});

/** Every accepted reading was consumed and counted once; `uncertain` may have been accepted without an answer. */
export function ledgerFault(ledger: Ledger, accepted: number, uncertain: number): string | undefined {
  const consumed = ledger.stored + ledger.duplicate + ledger.corrected + ledger.deadLettered;
  if (ledger.deadLettered > 0) return `${counted(ledger.deadLettered, 'reading')} became dead letters`;
  if (consumed < accepted)
    return `the ledger has ${accepted - consumed} fewer than the ${counted(accepted, 'reading')} accepted`;
  if (consumed <= accepted + uncertain) return undefined;
  return `the ledger has ${consumed - accepted} more than the ${counted(accepted, 'reading')} accepted: did something else send meanwhile?`;
}
