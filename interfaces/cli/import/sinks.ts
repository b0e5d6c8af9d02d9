import type { RefusalReason } from '../../../application/telemetry/ingest.ts';
import type { Reading } from '../../../domain/telemetry.ts';
import type { Session } from '../../composition/application.ts';
import { isOfSeconds } from '../../http/value-faults.ts';
import type { NewDevice, ReadingSink, RefusedReading } from '../../import/reading-sink.ts';
import { registerNew } from '../../import/registration.ts';
import { type ApiClient, ApiRefusal, sentPositions } from '../api-client.ts';
import { Refused, ServerUnavailable } from '../exit-codes.ts';

type IngestAnswer = {
  readonly errors: readonly { readonly index: number; readonly detail: string }[];
  readonly positions: readonly string[];
};

const bodyTooLarge = 413;

/** Sends through a server's API; `patient` asks until the read models are there, however long that takes. */
export function serverSink(client: ApiClient, patient: ApiClient): ReadingSink {
  const sent = sentPositions();
  let lateBefore: Promise<number | undefined> | undefined;
  return {
    name: client.url,
    register: (devices) => registerDevices(client, devices),
    async send(readings) {
      lateBefore ??= late();
      await lateBefore;
      return send(readings);
    },
    async settle() {
      await sent.untilProjected(patient);
      return difference(await lateBefore, await late());
    },
  };

  /** A key that may send need not be one that may read. */
  async function late(): Promise<number | undefined> {
    try {
      return (await client.get<{ ledger: { late: number } }>('/api/v1/status')).ledger.late;
    } catch (error) {
      if (error instanceof ApiRefusal) return undefined;
      throw error;
    }
  }

  async function send(readings: readonly Reading[]): Promise<readonly RefusedReading[]> {
    try {
      const { errors, positions } = await client.send<IngestAnswer>(
        'POST',
        '/api/v1/telemetry',
        readings.map(unmistakable),
      );
      sent.add(positions);
      return errors.map(refusedReading);
    } catch (error) {
      if (!(error instanceof ApiRefusal)) throw error;
      if (error.status === bodyTooLarge)
        return readings.length > 1 ? sendHalves(readings) : [{ index: 0, reason: error.message }];
      if (error.problem.accepted !== 0) throw error;
      return (error.problem.errors as IngestAnswer['errors']).map(refusedReading);
    }
  }

  async function sendHalves(readings: readonly Reading[]): Promise<readonly RefusedReading[]> {
    const half = Math.ceil(readings.length / 2);
    const first = await send(readings.slice(0, half));
    const second = await send(readings.slice(half));
    return [...first, ...second.map(({ index, reason }) => ({ index: index + half, reason }))];
  }
}

/** A time of 1970 as a number would be refused as epoch seconds; here it is what the file means. */
const unmistakable = ({ timestamp, ...reading }: Reading) => ({
  timestamp: isOfSeconds(timestamp) ? new Date(timestamp).toISOString() : timestamp,
  ...reading,
});

const difference = (before: number | undefined, after: number | undefined): number | undefined =>
  before === undefined || after === undefined ? undefined : after - before;

const refusedReading = ({ index, detail }: IngestAnswer['errors'][number]): RefusedReading => ({
  index,
  reason: detail,
});

const reasons: Record<RefusalReason, string> = {
  'unknown-device': 'is not registered',
  'device-suspended': 'is suspended',
  'device-decommissioned': 'is decommissioned',
};

/** Runs the application's own use cases here; all of one import has one correlation id. */
export function sessionSink(session: Session, name: string): ReadingSink {
  const caller = { correlationId: session.ids.uuidV7(), actor: 'import' };
  let lateBefore: Promise<number> | undefined;
  return {
    name,

    async settle() {
      await session.catchUp();
      return difference(await lateBefore, await late());
    },

    register: (devices) => registerNew(session.commands, devices, caller),

    async send(readings) {
      lateBefore ??= late();
      await lateBefore;
      const submitted = readings.map((reading, index) => ({ index, ...reading }));
      const { refused } = await session.ingest(submitted, caller);
      return refused.map(({ index, reason, deviceId }) => ({
        index,
        reason: `Device ${deviceId} ${reasons[reason]}`,
      }));
    },
  };

  async function late(): Promise<number> {
    return (await session.progress.ledgerTotals()).late;
  }
}

type BulkAnswer = {
  readonly outcomes: readonly {
    readonly status: number;
    readonly deviceId: string;
    readonly detail?: string;
  }[];
};

const devicesAtOnce = 1000;
const alreadyRegistered = 409;

/** Registers those that are not registered yet; resolves with how many those were. */
export async function registerDevices(client: ApiClient, devices: readonly NewDevice[]): Promise<number> {
  let added = 0;
  for (let at = 0; at < devices.length; at += devicesAtOnce) {
    const some = devices.slice(at, at + devicesAtOnce);
    const { outcomes } = await client.send<BulkAnswer>('POST', '/api/v1/devices/bulk', some);
    for (const { status, deviceId, detail } of outcomes) {
      if (status < 300) added += 1;
      else if (status >= 500) throw new ServerUnavailable(`${deviceId} cannot be registered now: ${detail}`);
      else if (status !== alreadyRegistered) throw new Refused(`${deviceId} cannot be registered: ${detail}`);
    }
  }
  return added;
}
