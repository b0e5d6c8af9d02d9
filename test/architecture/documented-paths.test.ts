import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const layers = ['domain', 'application', 'infrastructure', 'interfaces'];
const folders = [...layers, 'test', 'bench', 'deploy', 'docs'];

const filesIn = (...patterns: string[]): string[] =>
  globSync(patterns, { cwd: root, exclude: (name) => name === 'node_modules' });
const names = new Set(
  folders.flatMap((folder) => filesIn(`${folder}/**/*`)).map((file) => path.basename(file)),
);

/** In backquotes: files of code, alone or with their folder, and whatever begins with a folder of the project. */
const quoted = new RegExp(
  `\`((?:[\\w.-]+/)*[\\w.-]+\\.(?:ts|mjs|cjs)|(?:${folders.join('|')})/[\\w./-]*)\``,
  'g',
);

/** What runs write. */
const written = new Set(['bench/results/']);

/** A file named without its folder may be in any. */
const isThere = (named: string): boolean =>
  written.has(named) || (named.includes('/') ? existsSync(path.join(root, named)) : names.has(named));

const missingIn = (text: string): readonly string[] =>
  [...text.matchAll(quoted)].map(([, named = '']) => named).filter((named) => !isThere(named));

type Titled = { readonly file: string; readonly title: string };

/** Tests that the last column of a table names: the heading has their file, or the cell itself, before each colon. */
function titlesIn(text: string): readonly Titled[] {
  const found: Titled[] = [];
  let file: string | undefined;
  for (const line of text.split('\n')) {
    const cell = line.startsWith('| ') ? (line.split(' | ').at(-1) ?? '').replace(/ \|$/, '') : undefined;
    if (cell === undefined || cell.startsWith('---')) continue;
    const [heading] = /(?<=^`)[\w.-]+\.ts(?=`$)/.exec(cell) ?? [];
    if (heading || cell === 'test') file = heading;
    else
      for (const part of cell.split('; ')) {
        const [, another, title = part] = /^`([\w.-]+\.ts)`: (.*)$/.exec(part) ?? [];
        file = another ?? file;
        found.push({ file: file ?? '', title });
      }
  }
  return found;
}

describe('Paths in backquotes', () => {
  const documents = filesIn('*.md', 'docs/**/*.md', 'deploy/**/*.md');
  const sources = filesIn(...layers.map((layer) => `${layer}/**/*.ts`), 'test/**/*.ts', 'bench/**/*.ts');

  for (const [title, files] of Object.entries({ documents, comments: sources }))
    it(`of ${title} exist`, () => {
      const missing = files.flatMap((file) =>
        missingIn(readFileSync(path.join(root, file), 'utf8')).map((named) => `${file}: \`${named}\``),
      );
      assert.deepEqual(missing, []);
    });

  it('in the decision on EventStoreDB name files that have the tests beside them', () => {
    const text = readFileSync(path.join(root, 'docs/decisions/0028-eventstoredb-findings.md'), 'utf8');
    const named = titlesIn(text);
    assert.ok(named.length > 60, `${named.length} titles`);
    const sources = new Map(
      filesIn('test/**/*.ts').map((file) => [
        path.basename(file),
        readFileSync(path.join(root, file), 'utf8'),
      ]),
    );
    const missing = named.filter(({ file, title }) => !sources.get(file)?.includes(title));
    assert.deepEqual(missing, []);
  });

  it('are found missing when a folder or a file is', () => {
    const there = 'see `domain/device.ts`, `telemetry-batch.ts`, `docs/decisions/` and `/openapi.json`';
    assert.deepEqual(missingIn(there), []);
    const gone = ['domain/gone.ts', 'gone.ts', 'docs/gone/', 'test/gone', 'deploy/gone.yml'];
    assert.deepEqual(missingIn(gone.map((one) => `\`${one}\``).join(' ')), gone);
  });
});
