import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const folder = path.resolve(import.meta.dirname, '../../fixtures/frozen-names');
const testFile = 'test/architecture/frozen-names.test.ts';

/** The frozen names of a kind, one a line in its file in `test/fixtures/frozen-names/`. */
export function frozenNames(kind: string): ReadonlySet<string> {
  const file = fileOf(kind);
  return new Set(existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []);
}

/**
 * Throws when names are missing or new, and lists them. `UPDATE_FROZEN_NAMES=1` adds the new ones to the file instead;
 * with `REMOVE_FROZEN_NAMES=1` as well, the missing ones are removed from it.
 */
export function checkNames(kind: string, found: ReadonlySet<string>): void {
  const frozen = frozenNames(kind);
  const { UPDATE_FROZEN_NAMES: update, REMOVE_FROZEN_NAMES: remove } = process.env;
  if (update === '1') writeNames(kind, remove === '1' ? found : new Set([...frozen, ...found]));
  const missing = [...frozen].filter((name) => !found.has(name));
  const added = [...found].filter((name) => !frozen.has(name)).sort();
  const report: string[] = [];
  if (missing.length > 0 && !(update === '1' && remove === '1'))
    report.push(
      'Missing. These names are stored or public, so they must not change:',
      ...missing.map((name) => `  - ${name}`),
      'To remove them on purpose, set REMOVE_FROZEN_NAMES=1 beside UPDATE_FROZEN_NAMES=1, and say so in CHANGELOG.md.',
    );
  if (added.length > 0 && update !== '1')
    report.push(
      'New. These names will be frozen:',
      ...added.map((name) => `  + ${name}`),
      `To add them: UPDATE_FROZEN_NAMES=1 npm test -- ${testFile}`,
    );
  if (report.length > 0) throw new Error(`${path.relative('.', fileOf(kind))}\n\n${report.join('\n')}\n`);
}

const fileOf = (kind: string): string => path.join(folder, `${kind}.txt`);

function writeNames(kind: string, names: ReadonlySet<string>): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    fileOf(kind),
    [...names]
      .sort()
      .map((name) => `${name}\n`)
      .join(''),
  );
}
