import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ExportedName, exportedNames } from '../support/module-exports.ts';

const root = path.resolve(import.meta.dirname, '../..');
const layers = ['domain', 'application', 'infrastructure', 'interfaces'];

/** Exported although only tests or benchmarks import them, by the reason. */
const forTests: Readonly<Record<string, readonly string[]>> = {
  'a part with rules of its own, tested by itself': [
    'foldDevice',
    'retentionDays',
    'failureTable',
    'waitingTimes',
    'GroupCommit',
  ],
  'lets tests make a registry with a later version of an event': [
    'EventShapes',
    'eventShapes',
    'registryOf',
    'shape',
  ],
  'the composition that a simulation puts models under': ['applicationModule', 'sessionOf'],
  'the type of what tests pass in': [
    'BucketQuery',
    'ConnectionOptions',
    'SubscriptionOptions',
    'KafkaTelemetryLogOptions',
    'SamplerName',
    'FleetPlan',
    'RateOptions',
    'SeriesReading',
    'HttpOptions',
    'HttpServices',
  ],
  'lets the benchmark of detection choose settings': [
    'NoveltySettings',
    'noveltySettings',
    'defaultSensitivity',
  ],
  'lets tests register every metric without a server': ['querySeconds', 'measureWaiting', 'publishSeconds'],
  'lets tests start what the command line starts': ['program', 'serve', 'expressServer'],
};

const isTest = (file: string): boolean => /^(test|bench)\//.test(file);

/** Names that several files declare, each with those files. */
const declaredTwice = (names: readonly ExportedName[]): readonly string[] =>
  [...Map.groupBy(names, ({ name }) => name)]
    .filter(([, found]) => found.length > 1)
    .map(([name, found]) => `${name}: ${found.map(({ file }) => file).join(', ')}`);

const neverImported = (names: readonly ExportedName[]): readonly string[] =>
  names.filter(({ importers }) => importers.size === 0).map(({ file, name }) => `${file} ${name}`);

const onlyInTests = (names: readonly ExportedName[]): readonly string[] =>
  names.filter(({ importers }) => importers.size > 0 && [...importers].every(isTest)).map(({ name }) => name);

describe('Exported names', function () {
  this.timeout(60_000);

  describe('of this project', () => {
    let names: readonly ExportedName[];
    before(() => {
      names = exportedNames(root, sourcesIn(root, layers), sourcesIn(root, ['test', 'bench']));
      assert.ok(names.length > 500, `only ${names.length} names were found`);
    });

    it('mean one thing each: one file declares a name', () => assert.deepEqual(declaredTwice(names), []));

    it('are each imported by another file', () => assert.deepEqual(neverImported(names), []));

    it('are imported by more than tests, but for those listed here with the reason', () => {
      assert.deepEqual(onlyInTests(names).toSorted(), Object.values(forTests).flat().toSorted());
    });
  });

  describe('of a project with every mistake', () => {
    let folder: string;
    let names: readonly ExportedName[];
    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-exports-'));
      for (const [file, text] of Object.entries(planted)) {
        await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
        await writeFile(path.join(folder, file), text);
      }
      names = exportedNames(
        folder,
        sourcesIn(folder, ['domain', 'application']),
        sourcesIn(folder, ['test']),
      );
    });
    after(() => rm(folder, { recursive: true }));

    it('tell which are declared twice, a value and a type alike, and no re-export', () => {
      assert.deepEqual(declaredTwice(names), ['Twice: application/b.ts, domain/a.ts']);
    });

    it('tell which nobody imports, however late the others are imported', () => {
      assert.deepEqual(neverImported(names), ['application/b.ts Twice', 'domain/a.ts unused']);
    });

    it('tell which only a test imports', () => {
      assert.deepEqual(onlyInTests(names), ['tested']);
    });
  });
});

const planted = {
  'domain/a.ts': `
    export const Twice = 1, awaited = 2, taken = 3, typed = 4;
    export function unused() { return Twice; }
    export class tested {}
    export type Local = typeof Twice;
    const renamed = 5;
    export { renamed as given };
  `,
  'domain/whole.ts': 'export const one = 1; export const other = 2;',
  'domain/through.ts': "export { taken as passedOn } from './a.ts';",
  'application/b.ts': `
    import { Twice as once, type Local, given } from '../domain/a.ts';
    import { passedOn } from '../domain/through.ts';
    export interface Twice { readonly local: Local }
    const { awaited } = await import('../domain/a.ts');
    const load = () => import('../domain/whole.ts');
    let typed: import('../domain/a.ts').typed;
    console.log(once, given, passedOn, awaited, load, typed);
  `,
  'test/a.test.ts': "import { tested } from '../domain/a.ts'; console.log(new tested());",
};

const sourcesIn = (folder: string, parts: readonly string[]): readonly string[] =>
  globSync(
    parts.map((part) => `${part}/**/*.ts`),
    { cwd: folder },
  )
    .filter((file) => !file.endsWith('.d.ts'))
    .sort();
