import { deviceStream } from '../domain/device.ts';
import type { CommandAnswer, CommandContext, DeviceCommands } from './device-commands.ts';
import type { EventEraser } from './ports/event-store.ts';

/**
 * Has everything personal of a device forgotten, for good: first on record, as an event that every reader honours, then
 * in the store itself. When the second fails, the same call may be made again. Throws `Rejection`, `StaleRevision`,
 * `IdempotencyKeyReused`, `EventStoreUnavailable`.
 */
export type EraseDevice = (
  deviceId: string,
  reason: string,
  context: CommandContext,
) => Promise<CommandAnswer>;

export const eraseDevice =
  (commands: DeviceCommands, eraser: EventEraser): EraseDevice =>
  async (deviceId, reason, context) => {
    const answer = await commands.handle({ type: 'EraseDevice', deviceId, reason }, context);
    // Nothing can follow an erasure: the last event is the one.
    await eraser.eraseBefore(deviceStream(deviceId), answer.device.revision);
    return answer;
  };
