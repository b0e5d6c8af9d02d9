import { copyFileSync, rmSync } from 'node:fs';
import type { EventSource, Positioned } from '../../../application/ports/event-source.ts';
import type { RecordedEvent } from '../../../application/ports/event-store.ts';
import type { TelemetryRecord } from '../../../application/ports/telemetry-log.ts';
import { dataFiles } from '../../../infrastructure/sqlite/database-file.ts';
import { sqliteEventSource } from '../../../infrastructure/sqlite/event-source.ts';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';
import { SqliteTelemetryLog } from '../../../infrastructure/sqlite/telemetry-log.ts';
import { sqliteTelemetrySource } from '../../../infrastructure/sqlite/telemetry-source.ts';
import { newEvent, newStream } from '../../contracts/event-store.contract.ts';
import { logIdentityContract } from '../../contracts/log-identity.contract.ts';
import { newDevice, newPublication, reading } from '../../contracts/telemetry-log.contract.ts';
import { temporaryDirectory } from './temporary-directory.ts';

type Closing = { close(): Promise<void> };

/** A file that is copied and put back while nobody has it open, as an operator does. */
async function restorableFile<Event extends Positioned, Writer extends Closing>(
  path: string,
  openWriter: () => Writer,
  openSource: () => EventSource<Event> & Closing,
  append: (writer: Writer, count: number) => Promise<unknown>,
) {
  const opened: Closing[] = [];
  const keep = <T extends Closing>(one: T): T => {
    opened.push(one);
    return one;
  };
  let writer: Writer | undefined;
  async function letGo(): Promise<void> {
    for (const one of opened.splice(0)) await one.close();
    writer = undefined;
  }
  return {
    source: async () => keep(openSource()),
    append(count: number) {
      writer ??= keep(openWriter());
      return append(writer, count);
    },
    async keepCopy() {
      await letGo();
      copyFileSync(path, `${path}.copy`);
    },
    async putBack() {
      await letGo();
      for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
      copyFileSync(`${path}.copy`, path);
    },
    letGo,
  };
}

logIdentityContract<RecordedEvent>(
  'An events file of SQLite',
  async () => {
    const directory = temporaryDirectory();
    const { events } = dataFiles(directory.path);
    const log = await restorableFile(
      events,
      () => new SqliteEventStore(events),
      () => sqliteEventSource(events),
      (store, count) =>
        store.append(
          newStream(),
          Array.from({ length: count }, (_, n) => newEvent({ n })),
          'none',
        ),
    );
    return {
      ...log,
      idOf: ({ id }) => id,
      async close() {
        await log.letGo();
        directory.remove();
      },
    };
  },
  { asItRuns: false },
);

logIdentityContract<TelemetryRecord>(
  'A telemetry file of SQLite',
  async () => {
    const directory = temporaryDirectory();
    const { telemetry } = dataFiles(directory.path);
    const log = await restorableFile(
      telemetry,
      () => new SqliteTelemetryLog(telemetry),
      () => sqliteTelemetrySource(telemetry),
      (writer, count) => {
        const device = newDevice();
        return writer.publish(newPublication(Array.from({ length: count }, (_, n) => reading(device, n))));
      },
    );
    return {
      ...log,
      idOf: ({ id }) => id,
      async close() {
        await log.letGo();
        directory.remove();
      },
    };
  },
  { asItRuns: false },
);
