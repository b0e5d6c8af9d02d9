import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const mebibyte = 1024 * 1024;

/** A disk in memory that can be filled up without harm to others; only root can mount one. */
export class SmallDisk {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-hour-'));

  constructor(mebibytes: number) {
    const { status, stderr } = spawnSync(
      'mount',
      ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', this.folder],
      { encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`A disk needs root, to be mounted: ${stderr}`);
  }

  /** Takes all of its free space. */
  fill(): void {
    for (let free = this.free(); free > 0; free = this.free())
      writeFileSync(this.#ballast, Buffer.alloc(Math.min(free, 16 * mebibyte)), { flag: 'a' });
  }

  giveBack(): void {
    rmSync(this.#ballast, { force: true });
  }

  /** Bytes. */
  free(): number {
    const { bavail, bsize } = statfsSync(this.folder);
    return bavail * bsize;
  }

  remove(): void {
    spawnSync('umount', ['-l', this.folder]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #ballast(): string {
    return path.join(this.folder, 'ballast');
  }
}
