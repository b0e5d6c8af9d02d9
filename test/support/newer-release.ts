import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const parts = ['domain', 'application', 'infrastructure', 'interfaces', 'package.json'];

/** This code in a folder of its own, in which every projection is of a version that is greater by one. */
export async function newerRelease(): Promise<{ readonly bin: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-newer-'));
  for (const part of parts) await cp(path.join(root, part), path.join(folder, part), { recursive: true });
  await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  const declared = path.join(folder, 'application/projections/projection.ts');
  const code = await readFile(declared, 'utf8');
  const newer = code.replace(/\bversion: (\d+) \}/g, (_, version) => `version: ${Number(version) + 1} }`);
  assert.notEqual(newer, code);
  await writeFile(declared, newer);
  return {
    bin: path.join(folder, 'interfaces/cli/fieldlog.mjs'),
    remove: () => rm(folder, { recursive: true }),
  };
}
