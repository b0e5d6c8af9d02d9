import type { DeviceRetention } from '../../domain/retention.ts';
import type { DeviceDirectory } from '../ports/device-directory.ts';
import type { ErasedDevices } from '../ports/retention.ts';
import type { CurrentRetention } from './policy.ts';

/** Everything of an erased device may be removed at any moment. */
const nothingRetained = { horizon: () => Number.POSITIVE_INFINITY };

/**
 * Looks up the retention of those devices of which something expires, for one audit. As long as there is no policy, which device
 * this is the read models say at once: a fleet is not looked up in the event store.
 */
export function retentionLookup(
  retention: CurrentRetention,
  directory: Pick<DeviceDirectory, 'find'>,
  erased: Pick<ErasedDevices, 'list'>,
): (deviceIds: ReadonlySet<string>) => Promise<ReadonlyMap<string, Pick<DeviceRetention, 'horizon'>>> {
  let erasedIds: Promise<ReadonlySet<string>> | undefined;
  return async (deviceIds) => {
    await retention.refresh();
    if (!retention.hasPolicy) {
      erasedIds ??= erased.list().then((ids) => new Set(ids));
      const known = await erasedIds;
      return new Map([...deviceIds].filter((id) => known.has(id)).map((id) => [id, nothingRetained]));
    }
    const found = new Map<string, Pick<DeviceRetention, 'horizon'>>();
    for (const [id, { types }] of await directory.find(deviceIds)) {
      const deviceRetention = retention.forDevice(types);
      if (deviceRetention) found.set(id, deviceRetention);
    }
    return found;
  };
}
