import { statfsSync } from 'node:fs';
import path from 'node:path';
import { Gauge, type Registry } from 'prom-client';
import type { Disk } from '../application/ports/storage.ts';

/** Of a disk whose reserve is not configured: the lesser of a gibibyte and a twentieth. */
const usualReserve = (total: number): number => Math.min(1024 ** 3, total / 20);

/** How old an answer may be, in milliseconds: every publication asks. */
const validFor = 250;

/** The disk that `folder` is on; `reserve` in bytes. */
export function diskOf(folder: string, reserve?: number): Disk {
  const absolute = path.resolve(folder);
  let read = Number.NEGATIVE_INFINITY;
  let free = 0;
  let total = 0;
  return {
    room() {
      if (performance.now() - read >= validFor) {
        const { bavail, blocks, bsize } = statfsSync(absolute);
        free = bavail * bsize;
        total = blocks * bsize;
        read = performance.now();
      }
      return { folder: absolute, free, reserve: Math.floor(reserve ?? usualReserve(total)) };
    },
  };
}

/** How much room is left for the embedded files, and how much is to stay. */
export function measureDisk(registry: Registry, disk: Disk): void {
  new Gauge({
    name: 'fieldlog_disk_free_bytes',
    help: 'Bytes free on the disk of the data folder',
    registers: [registry],
    collect() {
      this.set(disk.room().free);
    },
  });
  new Gauge({
    name: 'fieldlog_disk_reserve_bytes',
    help: 'Bytes of the disk of the data folder that are to stay free (DISK_RESERVE)',
    registers: [registry],
    collect() {
      this.set(disk.room().reserve);
    },
  });
}
