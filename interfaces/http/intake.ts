import pLimit from 'p-limit';
import type { DeviceDirectory } from '../../application/ports/device-directory.ts';
import type {
  IngestResult,
  IngestTelemetry,
  Refusal,
  SubmittedReading,
} from '../../application/telemetry/ingest.ts';
import { boundsOf, touchable } from './device-bounds.ts';
import type { DecodeRejection } from './formats/reading-set.ts';
import type { ReadingMetrics } from './http-metrics.ts';
import { HttpProblem, invalidRequest, type ProblemKind, problemType } from './problems.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Identity, RequestContext } from './request-context.ts';

/** One rejected reading. */
export type RejectedReading = {
  readonly index: number;
  readonly kind: ProblemKind;
  readonly path: string;
  readonly detail: string;
  readonly otherFaults?: readonly { readonly path: string; readonly detail: string }[];
};

/** What a request or a message brought, decoded. */
type Submission = {
  readonly readings: readonly SubmittedReading[];
  readonly rejected: readonly RejectedReading[];
  /** Whether it was one reading by itself, in no array. */
  readonly alone?: boolean;
  /** The readings as a JSON array, where they came as one that says the same. */
  readonly json?: string | undefined;
};

export type IntakeResult = IngestResult & { readonly rejected: readonly RejectedReading[] };

type Sender = Pick<RequestContext, 'caller' | 'identity'>;

/**
 * Takes readings in, whatever wire form they came in. Resolves once those accepted are durable. Throws a problem with
 * nothing accepted where a limit is reached or a device's token speaks for another device, and what `IngestTelemetry`
 * throws.
 */
export type Intake = (submission: Submission, sender: Sender) => Promise<IntakeResult>;

/** Registers a device that nobody registered. Rejects where that cannot be; one that is there by now is well. */
export type RegisterUnknown = (deviceId: string, caller: Sender['caller']) => Promise<void>;

export const intakeOf =
  (
    ingest: IngestTelemetry,
    directory: Pick<DeviceDirectory, 'find'>,
    metrics: ReadingMetrics,
    rates: RateLimits | undefined,
    register?: RegisterUnknown | undefined,
  ): Intake =>
  async ({ readings, rejected, alone = false, json }, { caller, identity }) => {
    refuseOtherDevice(readings, identity);
    if (readings.length > 0) rates?.spendReadings(readings, keyOf(identity));
    const { within, outside } = await partedByKey(directory, readings, identity);
    const sent = outside.length > 0 ? undefined : json;
    const first = within.length > 0 ? await ingest(within, caller, sent) : nothing;
    const unknown = first.refused.filter(({ reason }) => reason === 'unknown-device');
    const result =
      register && unknown.length > 0 && mayRegister(identity)
        ? await ingestRegistered(first, unknown, (deviceId) => register(deviceId, caller))
        : first;
    const refusals = [...outside, ...result.refused].map((refusal) => refused(refusal, alone));
    const all = refusals.length === 0 ? rejected : [...rejected, ...refusals];
    count(metrics, result.accepted, all);
    return { ...result, rejected: all };

    /** With the readings of devices that are registered by now taken in as well. */
    async function ingestRegistered(
      before: IngestResult,
      unknown: readonly Refusal[],
      registerOne: (deviceId: string) => Promise<void>,
    ): Promise<IngestResult> {
      const limit = pLimit(registeredAtOnce);
      const deviceIds = new Set(unknown.map(({ deviceId }) => deviceId));
      await Promise.all([...deviceIds].map((deviceId) => limit(registerOne, deviceId)));
      const again = new Set(unknown);
      const later = await ingest(
        within.filter(({ deviceId }) => deviceIds.has(deviceId)),
        caller,
      );
      return {
        accepted: before.accepted + later.accepted,
        refused: [...before.refused.filter((one) => !again.has(one)), ...later.refused],
        positions: latestPositions([...before.positions, ...later.positions]),
      };
    }
  };

const registeredAtOnce = 16;

const mayRegister = (identity: Identity): boolean =>
  identity.is === 'anyone' || (identity.is === 'key' && identity.key.scopes.includes('devices:write'));

/** The last one of each partition. */
const latestPositions = (positions: IngestResult['positions']): IngestResult['positions'] => [
  ...new Map(positions.map((one) => [one.partition, one])).values(),
];

/** A device token speaks for one device: what names another is refused with all beside it. */
function refuseOtherDevice(readings: readonly SubmittedReading[], identity: Identity): void {
  if (identity.is !== 'device') return;
  const other = readings.find(({ deviceId }) => deviceId !== identity.deviceId);
  if (other) throw notThisDevice(identity.deviceId, other.deviceId, other.index);
}

/** To a key for a part of the fleet, devices outside it are like those that nobody has registered. */
async function partedByKey(
  directory: Pick<DeviceDirectory, 'find'>,
  readings: readonly SubmittedReading[],
  identity: Identity,
): Promise<{ readonly within: readonly SubmittedReading[]; readonly outside: readonly Refusal[] }> {
  const bounds = boundsOf(identity);
  if (bounds === undefined) return { within: readings, outside: [] };
  const ids = await touchable(directory, bounds, new Set(readings.map(({ deviceId }) => deviceId)));
  return {
    within: readings.filter(({ deviceId }) => ids.has(deviceId)),
    outside: readings
      .filter(({ deviceId }) => !ids.has(deviceId))
      .map(({ index, deviceId }) => ({ index, deviceId, reason: 'unknown-device' })),
  };
}

export const notThisDevice = (own: string, other: string, index: number): HttpProblem =>
  new HttpProblem(
    'not-this-device',
    `The token is that of device ${own}, and a reading is of ${other.slice(0, 128)}`,
    { members: { deviceId: own, index } },
  );

/** What a codec could not make a reading of. */
export const rejectedParts = (rejections: readonly DecodeRejection[]): readonly RejectedReading[] =>
  rejections.map((one) => ({ ...one, kind: 'invalid-request' }));

const keyOf = (identity: Identity): string | undefined =>
  identity.is === 'key' ? identity.key.name : undefined;

const nothing: IngestResult = { accepted: 0, refused: [], positions: [] };

const refusals: Record<Refusal['reason'], { readonly kind: ProblemKind; readonly is: string }> = {
  'unknown-device': { kind: 'device-not-registered', is: 'is not registered' },
  'device-suspended': { kind: 'device-suspended', is: 'is suspended' },
  'device-decommissioned': { kind: 'device-decommissioned', is: 'is decommissioned' },
};

function refused({ index, reason, deviceId }: Refusal, alone: boolean): RejectedReading {
  const { kind, is } = refusals[reason];
  return {
    index,
    kind,
    path: alone ? '/deviceId' : `/${index}/deviceId`,
    detail: `Device ${deviceId} ${is}`,
  };
}

export function allRejectedProblem(rejected: readonly RejectedReading[], alone: boolean): HttpProblem {
  const [first] = inOrder(rejected);
  if (!first) return invalidRequest([{ in: 'body', path: '', detail: 'must have at least one reading' }]);
  const kinds = new Set(rejected.map(({ kind }) => kind));
  const issues = alone
    ? [first, ...(first.otherFaults ?? [])].map(({ path, detail }) => ({ path, detail }))
    : undefined;
  const errors = (issues ?? inOrder(rejected).map(reported)).map((one) => ({ in: 'body', ...one }));
  const members = { accepted: 0, rejected: rejected.length, errors };
  const invalid = kinds.has('invalid-request') || kinds.has('malformed-json');
  const kind = kinds.size === 1 ? first.kind : invalid ? 'invalid-request' : 'readings-refused';
  const detail = alone
    ? `body${first.path}: ${first.detail}`
    : `No reading was accepted; the first: ${first.path}: ${first.detail}`;
  return new HttpProblem(kind, detail, { members });
}

export const inOrder = (rejected: readonly RejectedReading[]) =>
  rejected.toSorted((a, b) => a.index - b.index);

export const reported = ({ kind, ...rest }: RejectedReading) => ({ ...rest, type: problemType(kind) });

function count(metrics: ReadingMetrics, accepted: number, rejected: readonly RejectedReading[]): void {
  if (accepted > 0) metrics.accepted(accepted);
  for (const { kind } of rejected) metrics.rejected(kind, 1);
}
