import type { EventSource } from '../../application/ports/event-source.ts';
import type { EventStore, RecordedEvent } from '../../application/ports/event-store.ts';
import type { TelemetryLog, TelemetryRecord } from '../../application/ports/telemetry-log.ts';
import { eventSourceRules } from './event-source-rules.ts';
import { newEvent, newStream } from './event-store.contract.ts';
import type { Opened } from './opened.ts';
import { newDevice, newPublication, reading } from './telemetry-log.contract.ts';

/** What every EventSource must do, for the one that reads an EventStore. */
export function recordedEventSourceContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly store: EventStore; readonly source: EventSource<RecordedEvent> }>>,
): void {
  eventSourceRules<RecordedEvent>(adapter, async () => {
    const { store, source, close } = await open();
    const newWriter = () => {
      const stream = newStream();
      let last: number | 'none' = 'none';
      return {
        async write(numbers: readonly number[]) {
          const recorded: readonly RecordedEvent[] = await store.append(
            stream,
            numbers.map((n) => newEvent({ n })),
            last,
          );
          last = recorded.at(-1)?.revision ?? last;
        },
        numberIn: (event: RecordedEvent) =>
          event.stream === stream ? (event.data as { n: number }).n : undefined,
      };
    };
    return { source, newWriter, close };
  });
}

/** What every EventSource must do, for the one that reads a TelemetryLog. */
export function loggedTelemetrySourceContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly log: TelemetryLog; readonly source: EventSource<TelemetryRecord> }>>,
): void {
  eventSourceRules<TelemetryRecord>(adapter, async () => {
    const { log, source, close } = await open();
    const newWriter = () => {
      const device = newDevice();
      return {
        async write(numbers: readonly number[]) {
          await log.publish(newPublication(numbers.map((n) => reading(device, n))));
        },
        numberIn({ data }: TelemetryRecord) {
          const { deviceId, metrics } = (data ?? {}) as { deviceId?: string; metrics?: { n?: number } };
          return deviceId === device ? metrics?.n : undefined;
        },
      };
    };
    return { source, newWriter, close };
  });
}
