import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');

/** What a simulation could not replace: chance, other clocks, and time that passes without a timer. */
const outsideOfPorts =
  /\bMath\.random\b|\bcrypto\b|\brandomUUID\b|\bAbortSignal\.timeout\b|\bhrtime\b|\bsetImmediate\b|\bnew Date\(\)/;
/** The timers and clocks that simulated time replaces in a whole process; the domain has none. */
const replaceable = /\bset(Timeout|Interval)\b|\bDate\.now\b|\bperformance\./;

async function uses(layers: readonly string[], pattern: RegExp): Promise<string[]> {
  const found: string[] = [];
  for await (const file of glob(
    layers.map((layer) => `${layer}/**/*.ts`),
    { cwd: root },
  ))
    for (const [i, line] of (await readFile(path.join(root, file), 'utf8')).split('\n').entries())
      if (pattern.test(line)) found.push(`${file}:${i + 1}`);
  return found;
}

describe('Time and chance', () => {
  it('come into domain/ and application/ by ports alone, or by what simulated time replaces', async () => {
    assert.deepEqual(await uses(['domain', 'application'], outsideOfPorts), []);
    assert.notDeepEqual(
      await uses(['infrastructure'], outsideOfPorts),
      [],
      'the pattern finds nothing at all',
    );
    assert.deepEqual(await uses(['domain'], replaceable), []);
    assert.notDeepEqual(await uses(['application'], replaceable), [], 'the pattern finds nothing at all');
  });
});
