import assert from 'node:assert/strict';
import fc from 'fast-check';
import { JsonScan } from '../../../interfaces/http/json-scan.ts';

const unlimited = { items: 100_000, values: 100_000 };

/** Of one item: itself, its members' names and values, its elements. */
function valuesIn(item: unknown): number {
  if (typeof item !== 'object' || item === null) return 1;
  const inside = Array.isArray(item) ? item : Object.values(item);
  return 2 + inside.reduce((sum: number, one) => sum + nestedIn(one), 0) + separatorsOf(item, inside.length);
}

/** Brackets that open. */
const nestedIn = (value: unknown): number =>
  typeof value === 'object' && value !== null ? valuesIn(value) - 1 : 0;

/** Commas, and colons of an object. */
const separatorsOf = (item: object, members: number): number =>
  Math.max(0, members - 1) + (Array.isArray(item) ? 0 : members);

/** Whether the text passes the scan, whatever chunks it comes in. */
function passes(text: string, shape: 'array' | 'lines', limits: typeof unlimited, sizes: readonly number[]) {
  const scan = new JsonScan(shape, limits);
  const bytes = Buffer.from(text);
  try {
    for (let at = 0, n = 0; at < bytes.length; n += 1) {
      const size = sizes[n % sizes.length] ?? bytes.length;
      scan.feed(bytes.subarray(at, at + size));
      at += size;
    }
    return true;
  } catch {
    return false;
  }
}

describe('The scan of JSON', () => {
  const items = fc.array(
    fc.jsonValue({ maxDepth: 4 }).filter((item) => typeof item === 'object' && item !== null),
    { minLength: 1, maxLength: 8 },
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 });
  const texts = {
    array: (list: readonly unknown[], space: number) => JSON.stringify(list, null, space),
    lines: (list: readonly unknown[]) => list.map((item) => JSON.stringify(item)).join('\n'),
  };

  for (const shape of ['array', 'lines'] as const) {
    it(`finds the limits of ${shape} where they are, whatever chunks it is fed`, () => {
      fc.assert(
        fc.property(items, sizes, fc.constantFrom(0, 2), (list, cut, space) => {
          const text = texts[shape](list, space);
          // The array's own bracket is counted with its first item.
          const counts = list.map((item, i) => valuesIn(item) + (shape === 'array' && i === 0 ? 1 : 0));
          // The parser counts lines too: one more is only seen when it ends.
          const tooFew = list.length - (shape === 'array' ? 1 : 2);
          const most = Math.max(...counts);
          assert.equal(passes(text, shape, unlimited, cut), true);
          assert.equal(passes(text, shape, { ...unlimited, values: most }, cut), true);
          assert.equal(passes(text, shape, { ...unlimited, values: most - 1 }, cut), false);
          assert.equal(passes(text, shape, { ...unlimited, items: list.length }, cut), true);
          if (tooFew > 0) assert.equal(passes(text, shape, { ...unlimited, items: tooFew }, cut), false);
        }),
      );
    });
  }

  it('cuts arrays at commas between items only', () => {
    fc.assert(
      fc.property(items, sizes, (list, cut) => {
        const many = Array.from({ length: 1500 }, (_, i) => [i, ...list]);
        const bytes = Buffer.from(JSON.stringify(many));
        const scan = new JsonScan('array', unlimited);
        for (let at = 0, n = 0; at < bytes.length; n += 1) {
          const size = 1000 * (cut[n % cut.length] as number);
          scan.feed(bytes.subarray(at, at + size));
          at += size;
        }
        const lastComma = bytes.lastIndexOf(JSON.stringify(many.at(-1))) - 1;
        assert.equal(scan.cuts.length > 0, lastComma >= 65_536);
        let from = 1;
        const parts: unknown[] = [];
        for (const to of [...scan.cuts, bytes.length - 1]) {
          parts.push(...JSON.parse(`[${bytes.subarray(from, to)}]`));
          from = to + 1;
        }
        assert.equal(parts.length, many.length);
      }),
      { numRuns: 10 },
    );
  });
});
