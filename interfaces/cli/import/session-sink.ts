import type { RefusalReason } from '../../../application/telemetry/ingest.ts';
import { Rejection } from '../../../domain/decider.ts';
import type { Session } from '../../composition/sessions.ts';
import type { NewDevice } from '../register-devices.ts';
import type { ReadingSink } from './reading-sink.ts';

/** Enough for the event store to write many in one go. */
const atOnce = 64;

const reasons: Record<RefusalReason, string> = {
  'unknown-device': 'is not registered',
  'device-suspended': 'is suspended',
  'device-decommissioned': 'is decommissioned',
};

/** Runs the application's own use cases here; all of one import has one correlation id. */
export function sessionSink(session: Session, name: string): ReadingSink {
  const caller = { correlationId: session.ids.fresh(), actor: 'import' };
  return {
    name,
    settle: () => session.catchUp(),

    async register(devices) {
      let added = 0;
      const waiting = devices.values();
      await Promise.all(
        Array.from({ length: atOnce }, async () => {
          for (const device of waiting) if (await isNew(device)) added += 1;
        }),
      );
      return added;
    },

    async send(readings) {
      const submitted = readings.map((reading, index) => ({ index, ...reading }));
      const { refused } = await session.ingest(submitted, caller);
      return refused.map(({ index, reason, deviceId }) => ({
        index,
        reason: `Device ${deviceId} ${reasons[reason]}`,
      }));
    },
  };

  async function isNew({ deviceId, name, type }: NewDevice): Promise<boolean> {
    try {
      const details = { name, type, labels: {} };
      await session.commands.handle({ type: 'RegisterDevice', deviceId, details }, caller);
      return true;
    } catch (error) {
      if (error instanceof Rejection && error.code === 'DeviceAlreadyRegistered') return false;
      throw error;
    }
  }
}
