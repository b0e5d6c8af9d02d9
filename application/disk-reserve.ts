import { type EventStore, EventStoreUnavailable } from './ports/event-store.ts';
import { assertWritable, type Disk } from './ports/storage.ts';
import { type TelemetryLog, TelemetryLogUnavailable } from './ports/telemetry-log.ts';

/** Seconds after which a publication may be tried again. */
const retryAfter = 30;

/** Refuses publications while the disk is all but full, so that what is there can still be moved and given back. */
export const logWithReserve = (log: TelemetryLog, disk: Disk): TelemetryLog => ({
  async publish(publication) {
    try {
      assertWritable(disk);
    } catch (cause) {
      throw new TelemetryLogUnavailable((cause as Error).message, retryAfter, { cause });
    }
    return log.publish(publication);
  },
});

/** Refuses appends in the same way. */
export const storeWithReserve = (store: EventStore, disk: Disk): EventStore => ({
  read: (stream) => store.read(stream),
  isDeleted: (stream) => store.isDeleted(stream),
  async append(...append) {
    try {
      assertWritable(disk);
    } catch (cause) {
      throw new EventStoreUnavailable((cause as Error).message, { cause });
    }
    return store.append(...append);
  },
});
