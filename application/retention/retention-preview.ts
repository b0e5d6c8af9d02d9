import { keptKinds } from '../../domain/retention.ts';
import type { DeviceDirectory } from '../ports/device-directory.ts';
import type { Generation } from '../ports/read-models.ts';
import type { KeptTables, Removed } from '../ports/retention.ts';
import type { CurrentRetention } from './current-retention.ts';
import { nothingRemoved, plus } from './sweeping.ts';

const devicesAtOnce = 100;

/**
 * How many rows a sweep would remove at the moment `at`. Rows that would only lose a metric are told as trimmed: as
 * many as stand in the time of which some metrics are too old. Throws `ReadModelsUnavailable`.
 */
export async function retentionPreview(
  of: Generation,
  retention: Pick<CurrentRetention, 'of'>,
  { tables, directory }: { readonly tables: KeptTables; readonly directory: Pick<DeviceDirectory, 'find'> },
  at: number,
  signal: AbortSignal,
): Promise<Removed> {
  let found = nothingRemoved;
  for (let after = ''; ; ) {
    const devices = await tables.devices(of, after, devicesAtOnce);
    const known = await directory.find(new Set(devices));
    for (const deviceId of devices) {
      signal.throwIfAborted();
      const kept = retention.of(known.get(deviceId)?.types ?? []);
      if (!kept) continue;
      const counts = { ...nothingRemoved };
      for (const kind of keptKinds) {
        const oldest = kept.oldest(kind, at);
        counts[kind] += await tables.count(of, {
          kind,
          deviceId,
          from: Number.NEGATIVE_INFINITY,
          to: oldest,
        });
        const range = { kind, deviceId, from: oldest, to: kept.newest(kind, at) };
        if (range.to > range.from) counts.trimmed += await tables.count(of, range);
      }
      found = plus(found, counts);
    }
    const last = devices.at(-1);
    if (last === undefined) return found;
    after = last;
  }
}
