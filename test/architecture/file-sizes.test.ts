import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const longest = 350;
const short = 40;

/** Short files that one file imports. */
const allowed: Readonly<Record<string, string>> = {
  'application/disk-reserve.ts': 'surrounds two ports and is of neither',
  'application/rebuild/upgrade.ts': 'with rebuild.ts it would be too long',
};

describe('Files', () => {
  const sources = new Map(
    ['domain', 'application', 'infrastructure', 'interfaces'].flatMap((layer) =>
      readdirSync(path.join(root, layer), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(ts|mjs)$/.test(name) && !name.endsWith('.d.ts'))
        .map((name) => path.posix.join(layer, name))
        .map((file) => [file, readFileSync(path.join(root, file), 'utf8')] as const),
    ),
  );
  const lines = (text: string): number => text.split('\n').length - 1;

  it(`have ${longest} lines at most`, () => {
    assert.deepEqual(
      [...sources].filter(([, text]) => lines(text) > longest).map(([file]) => file),
      [],
    );
  });

  it(`of fewer than ${short} lines are imported by two others, or are loaded by themselves`, () => {
    const importers = new Map<string, Set<string>>();
    const entries = new Set(['interfaces/cli/main.ts']);
    for (const [file, text] of sources)
      for (const [, kind, target = ''] of text.matchAll(/(from |import\(|new URL\()'(\.{1,2}\/[^']+)'/g)) {
        const imported = path.posix.join(path.posix.dirname(file), target);
        importers.set(imported, (importers.get(imported) ?? new Set()).add(file));
        // A thread, or a command that is loaded when it is used.
        if (kind !== 'from ') entries.add(imported);
      }
    const lonely = [...sources]
      .filter(([file, text]) => lines(text) < short && !entries.has(file))
      .filter(([file]) => (importers.get(file)?.size ?? 0) < 2)
      .map(([file]) => file);
    assert.deepEqual(lonely.sort(), Object.keys(allowed).sort());
    assert.ok(importers.size > 200, `only ${importers.size} imports were seen`);
  });
});
