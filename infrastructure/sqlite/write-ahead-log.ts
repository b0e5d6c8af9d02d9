import { statSync } from 'node:fs';
import { Gauge, type Registry } from 'prom-client';
import type { WriteAheadLog } from '../../application/ports/storage.ts';

/**
 * SQLite cuts the log back to 64 MiB once everything in it is in the file, which it is when no reader looks at an
 * older state: a log of twice that much is held open.
 */
const heldFrom = 128 * 1024 * 1024;

/** The write-ahead log of the database file at `path`. */
export function writeAheadLogOf(path: string): WriteAheadLog {
  return {
    state() {
      const bytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
      return { bytes, isHeld: bytes >= heldFrom };
    },
  };
}

export function measureWriteAheadLog(registry: Registry, log: WriteAheadLog): void {
  new Gauge({
    name: 'fieldlog_read_models_wal_bytes',
    help: 'Bytes of the write-ahead log of the embedded read models: far above 64 MiB, a transaction that reads holds it',
    registers: [registry],
    collect() {
      this.set(log.state().bytes);
    },
  });
}
