import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Gauge, type Registry } from 'prom-client';
import { pause } from '../../application/pause.ts';
import type { Log } from '../../application/ports/system.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import {
  type BackupManifest,
  backUp,
  manifestIn,
  restoreBackup,
} from '../../infrastructure/sqlite/backup.ts';
import { WorkerChannel } from '../../infrastructure/worker-channel.ts';
import packageJson from '../../package.json' with { type: 'json' };

/** Backs up the embedded files into a folder to be made. Throws `StartupError`. */
export const backUpStore = (
  { DATA_DIR }: Config,
  target: string,
  logsOnly: boolean,
): Promise<BackupManifest> =>
  backUp(DATA_DIR, target, { logsOnly, release: packageJson.version, now: Date.now() });

/** Puts a backup into the data folder, which must have no data. Throws `StartupError`. */
export const restoreStore = ({ DATA_DIR }: Config, folder: string): Promise<BackupManifest> =>
  restoreBackup(folder, DATA_DIR);

/** How long after a backup that failed another is tried, in milliseconds. */
const retryAfter = 60_000;
const prefix = 'fieldlog-';

const unitMilliseconds = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const interval = ({ BACKUP_EVERY: text }: Config): number =>
  Number(text.slice(0, -1)) * unitMilliseconds[text.at(-1) as keyof typeof unitMilliseconds];

/** The newest backup of the schedule first. */
function scheduled(folder: string): readonly { readonly name: string; readonly createdAt: number }[] {
  if (!existsSync(folder)) return [];
  const found = readdirSync(folder).flatMap((name) => {
    const manifest = name.startsWith(prefix) ? manifestIn(path.join(folder, name)) : undefined;
    return manifest ? [{ name, createdAt: Date.parse(manifest.createdAt) }] : [];
  });
  return found.sort((a, b) => b.createdAt - a.createdAt);
}

/** Makes a backup each `BACKUP_EVERY`, in a thread of its own, and removes old ones, until `signal` is aborted. */
export async function runBackups(config: Config, log: Log, signal: AbortSignal): Promise<void> {
  const { BACKUP_DIR: folder, BACKUP_KEEP: keep } = config;
  if (folder === undefined) return;
  const every = interval(config);
  while (!signal.aborted) {
    const due = (scheduled(folder)[0]?.createdAt ?? Number.NEGATIVE_INFINITY) + every;
    if (due > Date.now()) {
      await pause(Math.min(due - Date.now(), retryAfter), signal);
      continue;
    }
    try {
      removeUnfinished(folder);
      const name = `${prefix}${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}`;
      const { files } = await inThread(config, path.join(folder, name));
      log.info({ folder: path.join(folder, name), files }, 'backup finished');
      for (const old of scheduled(folder).slice(keep))
        rmSync(path.join(folder, old.name), { recursive: true });
    } catch (err) {
      log.error({ err, folder }, 'backup failed, will retry');
      await pause(retryAfter, signal);
    }
  }
}

/** Left behind by a process that was killed. */
function removeUnfinished(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder))
    if (name.startsWith(prefix) && name.includes('.unfinished-'))
      rmSync(path.join(folder, name), { recursive: true });
}

async function inThread(config: Config, target: string): Promise<BackupManifest> {
  const thread = new WorkerChannel<string, BackupManifest>(
    new URL('./backup-worker.ts', import.meta.url),
    config,
    { lost: (cause) => new Error('The thread of the backup ended', { cause }) },
  );
  try {
    return await thread.request(target);
  } finally {
    await thread.close();
  }
}

/** How old the newest backup of the schedule is, and how old it may become. */
export function measureBackups(registry: Registry, config: Config): void {
  const { BACKUP_DIR } = config;
  if (BACKUP_DIR === undefined) return;
  const since = Date.now();
  new Gauge({
    name: 'fieldlog_backup_age_seconds',
    help: 'Time since the last backup of the schedule was begun; since the start of the server where there is none',
    registers: [registry],
    collect() {
      this.set((Date.now() - (scheduled(BACKUP_DIR)[0]?.createdAt ?? since)) / 1000);
    },
  });
  new Gauge({
    name: 'fieldlog_backup_interval_seconds',
    help: 'Time from one backup of the schedule to the next (BACKUP_EVERY)',
    registers: [registry],
    collect() {
      this.set(interval(config) / 1000);
    },
  });
}
