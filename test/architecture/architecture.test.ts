import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cruise, type IViolation } from 'dependency-cruiser';

const root = path.resolve(import.meta.dirname, '../..');
const layers = ['domain', 'application', 'infrastructure', 'interfaces'];
const { forbidden, options } = createRequire(import.meta.url)('./dependency-cruiser.cjs');

async function check(baseDir: string): Promise<{ modules: number; violations: readonly IViolation[] }> {
  const { output } = await cruise(layers, { ...options, baseDir, ruleSet: { forbidden }, validate: true });
  if (typeof output === 'string') throw new Error(output);
  return { modules: output.modules.length, violations: output.summary.violations };
}

describe('Architecture', function () {
  this.timeout(60_000);

  it('lets each layer import only what it may', async () => {
    const { modules, violations } = await check(root);
    assert.deepEqual(
      violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`),
      [],
    );
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
      const { violations } = await check(folder);
      const found = new Set(violations.map(({ rule }) => rule.name));
      assert.deepEqual([...found].sort(), Object.keys(planted).sort());
      assert.equal(found.size, forbidden.length);
    });
  });
});
