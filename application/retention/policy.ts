import {
  type DeviceRetention,
  deviceRetention,
  type RetentionSchedule,
  type TypePeriods,
} from '../../domain/retention.ts';
import type { DeviceDirectory } from '../ports/device-directory.ts';
import type { ErasedDevices, RetentionRecords } from '../ports/retention.ts';
import type { Clock } from '../ports/system.ts';

/** Retention by the stored policies. */
export type CurrentRetention = {
  /** Loads new policies, unless it did so a moment ago. Throws `ReadModelsUnavailable`. */
  refresh(): Promise<void>;
  /** `undefined` when nothing of a device with these types expires. */
  forDevice(types: TypePeriods): DeviceRetention | undefined;
  /** Whether there has ever been a policy: without one, only of erased devices anything expires. */
  readonly hasPolicy: boolean;
};

const knownForMilliseconds = 5_000;
/** A new policy counts from so long after it is known, so that everybody has heard of it by then. */
export const announcedMilliseconds = 3 * knownForMilliseconds;

export function currentRetention(
  records: Pick<RetentionRecords, 'schedule'>,
  clock: Clock,
): CurrentRetention {
  let schedule: RetentionSchedule = [];
  let loadedAt = Number.NEGATIVE_INFINITY;
  const byTypes = new Map<string, DeviceRetention | undefined>();

  return {
    async refresh() {
      if (clock.now() - loadedAt < knownForMilliseconds) return;
      const found = await records.schedule();
      if (found.length !== schedule.length) byTypes.clear();
      schedule = found;
      loadedAt = clock.now();
    },

    get hasPolicy() {
      return schedule.length > 0;
    },

    forDevice(types) {
      if (schedule.length === 0 && types.every(({ type }) => type !== null)) return undefined;
      const key = keyOf(types);
      if (!byTypes.has(key)) {
        if (byTypes.size >= mostKept) byTypes.clear();
        byTypes.set(key, deviceRetention(schedule, types));
      }
      return byTypes.get(key);
    },
  };
}

const mostKept = 10_000;

/** Most devices never change type, so that they share a result. */
const keyOf = (types: TypePeriods): string =>
  types.length === 1 ? String(types[0]?.type) : JSON.stringify(types);

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
