import type { DeviceCommands } from '../../application/devices/device-commands.ts';
import { Rejection } from '../../domain/decider.ts';
import type { NewDevice } from './reading-sink.ts';

/** Enough for the event store to write many in one go. */
const atOnce = 64;

/** Registers those that are not registered yet; resolves with how many those were. Throws what `commands` throw. */
export async function registerNew(
  commands: DeviceCommands,
  devices: readonly NewDevice[],
  caller: Parameters<DeviceCommands['handle']>[1],
): Promise<number> {
  let added = 0;
  const waiting = devices.values();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const device of waiting) if (await isNew(device)) added += 1;
    }),
  );
  return added;

  async function isNew({ deviceId, name, type }: NewDevice): Promise<boolean> {
    try {
      const details = { name, type, labels: {} };
      await commands.handle({ type: 'RegisterDevice', deviceId, details }, caller);
      return true;
    } catch (error) {
      if (error instanceof Rejection && error.code === 'DeviceAlreadyRegistered') return false;
      throw error;
    }
  }
}
