import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isReading } from '../../../domain/telemetry.ts';
import {
  oldReadingSchema,
  readingSchema,
  submittedReading,
} from '../../../interfaces/http/reading-schema.ts';

/** Mostly right, so that a reading of several such parts is right often enough. */
const mostly = <T, U>(right: fc.Arbitrary<T>, wrong: fc.Arbitrary<U>) =>
  fc.oneof({ arbitrary: right, weight: 8 }, { arbitrary: wrong, weight: 1 });

const name = mostly(
  fc.constantFrom(
    'temp',
    'a.b/c:d-e_f',
    '_x',
    '1-0:1.8.0',
    '/a',
    '42',
    'constructor',
    'toString',
    'x'.repeat(128),
  ),
  fc.oneof(fc.constantFrom('__proto__', '', '-x', ':x', 'é', 'x'.repeat(129)), fc.string({ maxLength: 4 })),
);
const value = mostly(
  fc.oneof(
    fc.double({ min: -1e300, max: 1e300 }),
    fc.boolean(),
    fc.constantFrom('x'.repeat(512), '', -0, null),
    fc.string({ maxLength: 5 }),
  ),
  fc.constantFrom('x'.repeat(513), 1.1e300, '\ud800', 2n, Number.POSITIVE_INFINITY, undefined, [], {}, [1]),
);
const timestamp = mostly(
  fc.constantFrom('2026-01-01T00:00+01:00', '2024-02-29T23:59:59.999999999Z', 0, -1, -62_135_596_800_000),
  fc.oneof(
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc.integer({ min: -70_000_000_000_000, max: 260_000_000_000_000 }),
    fc.integer({ min: 99_999_999, max: 63_072_000_001 }),
    fc.constantFrom('2026-02-30T00:00Z', '2026-01-01', 1.5, null, true, '0', Number.NaN, {}),
  ),
);
const metrics = mostly(
  fc.array(fc.tuple(name, value), { minLength: 1, maxLength: 3 }).map(entries),
  fc.oneof(
    fc.constantFrom(null, [], {}, 'x', 1),
    fc
      .integer({ min: 62, max: 66 })
      .map((count) => entries(Array.from({ length: count }, (_, i) => [`m${i}`, i]))),
  ),
);
const deviceId = mostly(
  fc.constantFrom('d-1', 'A:b.c_d', 'x'.repeat(128)),
  fc.constantFrom('x'.repeat(129), '', '-a', 'a b', 1, null),
);
const reading = fc
  .tuple(
    fc.record({ deviceId, timestamp, metrics }, { requiredKeys: ['deviceId', 'metrics'] }),
    mostly(fc.constant([]), fc.constantFrom(['unit'], ['__proto__'], ['constructor'])),
  )
  .map(([own, others]) => entries([...Object.entries(own), ...others.map((key) => [key, 1] as const)]));

/** With own properties, whatever their names, as JSON.parse makes them. */
function entries(pairs: readonly (readonly [string, unknown])[]): unknown {
  const map = {};
  for (const [key, of] of pairs)
    Object.defineProperty(map, key, { value: of, enumerable: true, configurable: true, writable: true });
  return map;
}

describe('The check of a reading', () => {
  it('written out allows exactly what the schema allows', () => {
    const seen = { allowed: 0, refused: 0 };
    const agrees = (value: unknown) => {
      const allowed = readingSchema.safeParse(value).success;
      seen[allowed ? 'allowed' : 'refused'] += 1;
      assert.equal(submittedReading(value, 0) !== undefined, allowed);
      const allowedOld = oldReadingSchema.safeParse(value).success;
      assert.equal(submittedReading(value, 0, true) !== undefined, allowedOld);
    };
    fc.assert(fc.property(reading, agrees), { numRuns: 3000 });
    fc.assert(fc.property(fc.anything({ withNullPrototype: true }), agrees));
    assert.ok(seen.allowed > 100 && seen.refused > 100, JSON.stringify(seen));
  });

  it('lets nothing through that the log must not hold', () => {
    fc.assert(
      fc.property(reading, (value) => {
        const submitted = submittedReading(value, 7);
        if (submitted) assert.ok(isReading({ timestamp: 0, ...JSON.parse(JSON.stringify(submitted)) }));
      }),
      { numRuns: 2000 },
    );
  });

  it('leaves out metrics that are null', () => {
    const metrics = (given: object) => submittedReading({ deviceId: 'd', metrics: given }, 0)?.metrics;
    assert.deepEqual(metrics({ a: null, b: 1 }), { b: 1 });
    assert.equal(metrics({ a: null }), undefined);
    assert.equal(metrics({ '-a': null, b: 1 }), undefined);
  });

  it('reads either form of a timestamp, and none as none', () => {
    const of = (timestamp: object) => submittedReading({ deviceId: 'd', metrics: { a: 1 }, ...timestamp }, 3);
    assert.deepEqual(of({}), { index: 3, deviceId: 'd', timestamp: undefined, metrics: { a: 1 } });
    assert.equal(of({ timestamp: 5 })?.timestamp, 5);
    assert.equal(of({ timestamp: '1970-01-01T01:00+01:00' })?.timestamp, 0);
  });
});
