import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cruise, type IModule } from 'dependency-cruiser';

const root = path.resolve(import.meta.dirname, '../..');
const layers = ['domain', 'application', 'infrastructure', 'interfaces'];
const { forbidden, options } = createRequire(import.meta.url)('./dependency-cruiser.cjs');

async function check(baseDir: string) {
  const { output } = await cruise(layers, { ...options, baseDir, ruleSet: { forbidden }, validate: true });
  if (typeof output === 'string') throw new Error(output);
  const { modules, summary } = output;
  return { modules: modules.length, violations: summary.violations, cycles: folderCycles(modules) };
}

/**
 * The folders that import one that imports them back, however far the way. A folder and one inside it are one place:
 * a program imports its commands, which import what they share.
 */
function folderCycles(modules: readonly IModule[]): string[] {
  const imports = new Map<string, Set<string>>();
  for (const { source, dependencies } of modules)
    for (const { resolved } of dependencies) {
      const [from, to] = [path.dirname(source), path.dirname(resolved)];
      const isOnePlace = `${from}/`.startsWith(`${to}/`) || `${to}/`.startsWith(`${from}/`);
      if (isOnePlace || !layers.includes(to.split('/')[0] ?? '')) continue;
      imports.set(from, (imports.get(from) ?? new Set()).add(to));
    }
  const reached = (from: string, seen = new Set<string>()): Set<string> => {
    for (const to of imports.get(from) ?? [])
      if (!seen.has(to)) {
        seen.add(to);
        reached(to, seen);
      }
    return seen;
  };
  return [...imports.keys()].filter((folder) => reached(folder).has(folder)).sort();
}

describe('Architecture', function () {
  this.timeout(60_000);

  it('lets each layer import only what it may', async () => {
    const { modules, violations, cycles } = await check(root);
    assert.deepEqual(
      violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`),
      [],
    );
    assert.deepEqual(cycles, [], 'these folders import one another');
    assert.ok(modules > 50, `only ${modules} modules were looked at`);
  });

  describe('breaking a rule on purpose', () => {
    let folder: string;
    const planted: Record<string, { file: string; text: string }> = {
      'domain-is-pure': {
        file: 'domain/planted.ts',
        text: "import type { Pool } from 'mysql2';\nexport type P = Pool;\n",
      },
      'application-knows-only-domain': {
        file: 'application/planted.ts',
        text: "import { readFileSync } from 'node:fs';\nexport const r = readFileSync;\n",
      },
      'infrastructure-is-driven': {
        file: 'infrastructure/kafka/planted.ts',
        text: "export * from '../../interfaces/http/target.ts';\n",
      },
      'adapters-stand-alone': {
        file: 'infrastructure/kafka/sideways.ts',
        text: "export * from '../mysql/target.ts';\n",
      },
      'interfaces-name-no-adapter': {
        file: 'interfaces/http/planted.ts',
        text: "export * from '../../infrastructure/mysql/target.ts';\n",
      },
      'inversify-only-in-composition': {
        file: 'interfaces/http/container.ts',
        text: "import { Container } from 'inversify';\nexport const c = Container;\n",
      },
      'tests-are-not-shipped': {
        file: 'interfaces/http/tested.ts',
        text: "export * from '../../test/target.ts';\n",
      },
      'no-cycles': { file: 'domain/cycle.ts', text: "export * from './cycle-back.ts';\n" },
    };

    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-architecture-'));
      await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
      const files = {
        ...Object.fromEntries(Object.values(planted).map(({ file, text }) => [file, text])),
        'domain/cycle-back.ts': "export * from './cycle.ts';\n",
        'application/rebuild/a.ts': "export * from '../retention/b.ts';\n",
        'application/retention/b.ts': 'export const b = 1;\n',
        'application/retention/c.ts': "export * from '../operations/d.ts';\n",
        'application/operations/d.ts': "export * from '../rebuild/e.ts';\n",
        'application/rebuild/e.ts': "export * from './inside/f.ts';\n",
        'application/rebuild/inside/f.ts': "export * from '../g.ts';\n",
        'application/rebuild/g.ts': 'export const g = 1;\n',
        'interfaces/http/target.ts': 'export const target = 1;\n',
        'infrastructure/mysql/target.ts': 'export const target = 1;\n',
        'test/target.ts': 'export const target = 1;\n',
        'tsconfig.json': '{}',
      };
      for (const [file, text] of Object.entries(files)) {
        await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
        await writeFile(path.join(folder, file), text);
      }
    });

    after(() => rm(folder, { recursive: true }));

    it('is reported, whichever rule it is', async () => {
      const { violations, cycles } = await check(folder);
      assert.deepEqual(cycles, ['application/operations', 'application/rebuild', 'application/retention']);
      const found = new Set(violations.map(({ rule }) => rule.name));
      assert.deepEqual([...found].sort(), Object.keys(planted).sort());
      assert.equal(found.size, forbidden.length);
    });
  });
});
