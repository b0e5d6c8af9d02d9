import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isAlive } from './stop-signal.ts';

/** A server that serves embedded files, as it says of itself. */
type RunningServer = {
  readonly pid: number;
  readonly url: string;
  /** Absolute. */
  readonly dataDir: string;
  /** ISO 8601. */
  readonly startedAt: string;
};

const lockName = 'fieldlog.lock';

/**
 * Writes down that this process serves `dataDir`: in the folder itself, for whoever finds it, and in the user's folder
 * for running programs, where commands find the folder. Answers with how to take it back.
 */
export function announceServer(dataDir: string, url: string): () => void {
  const server: RunningServer = {
    pid: process.pid,
    url,
    dataDir: path.resolve(dataDir),
    startedAt: new Date().toISOString(),
  };
  const folder = runtimeFolder();
  const files = [path.join(server.dataDir, lockName)];
  if (folder !== undefined) files.push(path.join(folder, `${process.pid}.json`));
  for (const file of files)
    tolerating(() => writeFileSync(file, `${JSON.stringify(server)}\n`, { mode: 0o600 }));
  return () => {
    for (const file of files) if (serverIn(file)?.pid === process.pid) tolerating(() => rmSync(file));
  };
}

/** The server that serves `dataDir`, if one on this machine does. */
export function serverOf(dataDir: string): RunningServer | undefined {
  const found = serverIn(path.join(dataDir, lockName));
  return found && isAlive(found.pid) ? found : undefined;
}

/** This user's servers on this machine. */
export function runningServers(): readonly RunningServer[] {
  const folder = runtimeFolder();
  if (folder === undefined) return [];
  const found = readdirSync(folder).map((name) => serverIn(path.join(folder, name)));
  // One that was killed has left its file behind.
  return found.filter(
    (one) => one !== undefined && isAlive(one.pid) && serverOf(one.dataDir)?.pid === one.pid,
  ) as readonly RunningServer[];
}

/** `undefined` where it cannot be made, or is another user's. */
function runtimeFolder(): string | undefined {
  const user = process.getuid?.();
  const folder = path.join(process.env.XDG_RUNTIME_DIR || tmpdir(), `fieldlog-${user}`);
  return tolerating(() => {
    makeFolder(folder);
    return statSync(folder).uid === user ? folder : undefined;
  });
}

/** Not those above it, which Node would try to make for ever where a file system such as /proc has none. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    // It is there, or another server has made it at this moment.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

const serverIn = (file: string): RunningServer | undefined =>
  tolerating(() => JSON.parse(readFileSync(file, 'utf8')) as RunningServer);

/** A server works without these files, and a command without finding one. */
function tolerating<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
