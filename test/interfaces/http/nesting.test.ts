import assert from 'node:assert/strict';
import fc from 'fast-check';
import { nestsTooDeep } from '../../../interfaces/http/body.ts';

/** Anything up to three deep, its strings full of what looks like more. */
const shallow = fc.json({
  maxDepth: 3,
  stringUnit: fc.constantFrom('[', '{', '"', '\\', ']', '}', 'a', 'é'),
});
const arraysOf = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
/** Long enough to be looked into, whatever it holds. */
const long = (text: string) => Buffer.from(text + ' '.repeat(1_100_000));

describe('Nesting of JSON', () => {
  it('is too deep beyond 64 levels, of arrays or objects or both', () => {
    for (const [depth, tooDeep] of [
      [64, false],
      [65, true],
    ] as const) {
      assert.equal(nestsTooDeep(long(arraysOf(depth))), tooDeep);
      assert.equal(nestsTooDeep(long('{"a":'.repeat(depth) + 1 + '}'.repeat(depth))), tooDeep);
    }
    assert.equal(nestsTooDeep(long('{"a":['.repeat(32))), false);
    assert.equal(nestsTooDeep(long(`[${'{"a":['.repeat(32)}`)), true);
  });

  it('is never seen in strings', () => {
    fc.assert(
      fc.property(shallow, (json) => {
        assert.equal(nestsTooDeep(long(json)), false);
        assert.equal(nestsTooDeep(long(`[${json},${arraysOf(65)}]`)), true);
      }),
      { numRuns: 30 },
    );
    assert.equal(nestsTooDeep(long(`"${arraysOf(100)}`)), false);
    assert.equal(nestsTooDeep(long(`"\\`)), false);
  });

  it('is not looked for where it can do no harm', () => {
    assert.equal(nestsTooDeep(Buffer.from(arraysOf(30_000))), false);
    assert.equal(nestsTooDeep(Buffer.from(arraysOf(40_000))), true);
  });
});
