import { mkdirSync, statfsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Disk } from '../application/ports/storage.ts';

/**
 * Makes a folder, and those above it, for this user alone where it is not there. Not by Node's own way: a file system
 * such as /proc says of a folder that it cannot have that the one above is not there, and Node then tries for ever.
 */
export function makeFolder(folder: string): void {
  if (isFolder(folder)) return;
  const above = dirname(folder);
  if (above !== folder) makeFolder(above);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!isFolder(folder)) throw error;
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** Of a disk whose reserve is not configured: the lesser of a gibibyte and a twentieth. */
const usualReserve = (total: number): number => Math.min(1024 ** 3, total / 20);

/** How old an answer may be, in milliseconds: every publication asks. */
const validFor = 250;

/** The disk that `folder` is on; `reserve` in bytes. */
export function diskOf(folder: string, reserve?: number): Disk {
  const absolute = resolve(folder);
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
