import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  createReadStream,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { makeFolder } from '../folder.ts';
import { StartupError } from '../startup-error.ts';
import { incompleteRestore, makeDataFolder } from './database-file.ts';
import { damageFault, openingError } from './errors.ts';

/** In this order: read models never know of more than the logs behind them, nor telemetry of a device not copied yet. */
const names = ['read-models.db', 'telemetry.db', 'events.db', 'access.db'] as const;
type Name = (typeof names)[number];

const manifestName = 'manifest.json';
const manifestForm = z.object({
  format: z.literal(1),
  release: z.string(),
  createdAt: z.iso.datetime(),
  files: z.array(
    z.object({
      name: z.enum(names),
      bytes: z.int(),
      sha256: z.string(),
      /** Of the last event, in a log. */
      position: z.int().nullable(),
      /** Of the log; `null` in one of a release without identities. */
      identity: z.string().nullable(),
    }),
  ),
});

export type BackupManifest = z.infer<typeof manifestForm>;

type BackupOptions = { readonly logsOnly: boolean; readonly release: string; readonly now: number };

/**
 * Copies the files of a data folder, which servers may be writing to, into `target`, which must not be there yet. It is
 * there once everything in it was read back and is on disk. Throws `StartupError`.
 */
export async function backUp(
  dataDir: string,
  target: string,
  { logsOnly, release, now }: BackupOptions,
): Promise<BackupManifest> {
  if (existsSync(target)) throw new StartupError(`${target} is there already: name a folder to be made`);
  const unfinished = `${target}.unfinished-${randomBytes(4).toString('hex')}`;
  try {
    makeFolder(unfinished);
    const files: BackupManifest['files'] = [];
    for (const name of names) {
      const source = path.join(dataDir, name);
      if (!existsSync(source) || (logsOnly && name === 'read-models.db')) continue;
      await copyDatabase(source, path.join(unfinished, name));
      files.push(await described(unfinished, name));
    }
    if (files.length === 0)
      throw new StartupError(`there are no files to back up in ${dataDir}: set DATA_DIR`);
    const manifest = { format: 1 as const, release, createdAt: new Date(now).toISOString(), files };
    writeFileSync(path.join(unfinished, manifestName), `${JSON.stringify(manifest, null, 2)}\n`, {
      mode: 0o600,
    });
    for (const name of [...readdirSync(unfinished), '.']) flush(path.join(unfinished, name));
    renameSync(unfinished, target);
    flush(path.dirname(path.resolve(target)));
    return manifest;
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw openingError(error, target);
  }
}

/** All pages in one step: with smaller ones SQLite begins anew after each write of others. */
const allPages = 2 ** 31 - 1;

async function copyDatabase(source: string, target: string): Promise<void> {
  closeSync(openSync(target, 'wx', 0o600));
  const db = new DatabaseSync(source, { readOnly: true, timeout: 5000 });
  try {
    await backup(db, target, { rate: allPages });
  } finally {
    db.close();
  }
  const copy = new DatabaseSync(target);
  try {
    // Whole by itself, without files beside it.
    copy.exec('PRAGMA journal_mode = DELETE');
    const [{ quick_check: found }] = copy.prepare('PRAGMA quick_check(1)').all() as [{ quick_check: string }];
    if (found !== 'ok') throw damageFault(source, found);
  } finally {
    copy.close();
  }
}

async function described(folder: string, name: Name): Promise<BackupManifest['files'][number]> {
  const file = path.join(folder, name);
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    const ends = {
      'events.db': 'SELECT ifnull(max(position), 0) AS found FROM events',
      'telemetry.db': 'SELECT ifnull(max(first_offset + count - 1), 0) AS found FROM batches',
    };
    const end = name in ends ? db.prepare(ends[name as keyof typeof ends]).get() : undefined;
    return {
      name,
      bytes: statSync(file).size,
      sha256: await digestOf(file),
      position: end === undefined ? null : Number(end.found),
      identity: identityOf(db),
    };
  } finally {
    db.close();
  }
}

/** What was backed up. Throws `StartupError` where anything of it is missing or is not what it was. */
async function verifiedBackup(folder: string): Promise<BackupManifest> {
  const manifest = manifestIn(folder);
  if (manifest === undefined)
    throw new StartupError(`${folder} is no backup: it has no ${manifestName} that this release can read`);
  for (const { name, bytes, sha256 } of manifest.files) {
    const file = path.join(folder, name);
    const size = statSync(file, { throwIfNoEntry: false })?.size;
    if (size !== bytes || (await digestOf(file)) !== sha256)
      throw new StartupError(`${file} is not what was backed up: use another backup`);
  }
  return manifest;
}

/** `undefined` where there is none that can be read. */
export function manifestIn(folder: string): BackupManifest | undefined {
  try {
    return manifestForm.parse(JSON.parse(readFileSync(path.join(folder, manifestName), 'utf8')));
  } catch {
    return undefined;
  }
}

/**
 * Puts the files of a verified backup into `dataDir`, which must have none. Cut short, it can be done again, and no server
 * starts on the folder until then. Logs get new identities: positions behind their ends will be given to other events.
 * Throws `StartupError`.
 */
export async function restoreBackup(folder: string, dataDir: string): Promise<BackupManifest> {
  const manifest = await verifiedBackup(folder);
  makeDataFolder(dataDir);
  const mark = path.join(dataDir, incompleteRestore);
  const found = readdirSync(dataDir).filter((name) => name.endsWith('.db'));
  if (found.length > 0 && !existsSync(mark))
    throw new StartupError(`${dataDir} has data already (${found.join(', ')}): move them away first`);
  writeFileSync(mark, `${path.resolve(folder)}\n`, { mode: 0o600 });
  flush(dataDir);
  for (const name of readdirSync(dataDir))
    if (/\.db(-wal|-shm|-journal)?$/.test(name)) rmSync(path.join(dataDir, name));
  for (const { name, sha256 } of manifest.files) {
    const file = path.join(dataDir, name);
    closeSync(openSync(file, 'wx', 0o600));
    copyFileSync(path.join(folder, name), file);
    if ((await digestOf(file)) !== sha256) throw new StartupError(`${file} could not be copied whole`);
  }
  renewIdentities(dataDir, manifest);
  for (const { name } of manifest.files) flush(path.join(dataDir, name));
  rmSync(mark);
  flush(dataDir);
  return manifest;
}

function renewIdentities(dataDir: string, { files }: BackupManifest): void {
  const readModels = path.join(dataDir, 'read-models.db');
  for (const { name, identity } of files) {
    if (identity === null) continue;
    const renewed = randomBytes(16).toString('hex');
    changing(path.join(dataDir, name), 'UPDATE log_identity SET id = ?', renewed);
    // Those that are restored with it were made from what it holds.
    if (existsSync(readModels))
      changing(readModels, 'UPDATE checkpoints SET log_id = ? WHERE log_id = ?', renewed, identity);
  }
}

function changing(file: string, text: string, ...params: readonly string[]): void {
  const db = new DatabaseSync(file);
  try {
    db.prepare(text).run(...params);
  } finally {
    db.close();
  }
}

function identityOf(db: DatabaseSync): string | null {
  const isThere = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'log_identity'").get();
  return isThere ? String(db.prepare('SELECT id FROM log_identity').get()?.id) : null;
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest('hex');
}

function flush(file: string): void {
  const descriptor = openSync(file, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
