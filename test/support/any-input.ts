import fc from 'fast-check';

/** JSON text of anything, names such as `__proto__` and numbers such as 1e999 included. */
export const anyJson = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.constantFrom(
    '1e999',
    '-1e999',
    '"\\ud800"',
    '{"__proto__":{"a":1}}',
    '{"constructor":"x"}',
    '""',
    'null',
  ),
  fc.integer({ min: 1, max: 3000 }).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  fc.integer({ min: 1, max: 20_000 }).map((length) => `"${'x'.repeat(length)}"`),
  fc
    .integer({ min: 1, max: 200 })
    .map((count) => `{${Array.from({ length: count }, (_, i) => `"k${i}":${i}`)}}`),
);
/** Names that JavaScript objects, headers or SQL may stumble over. */
export const anyName = fc.oneof(
  fc.constantFrom(
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'a b',
    'A',
    '',
    '\u0000',
    'x'.repeat(600),
  ),
  fc.string({ unit: 'binary', maxLength: 8 }),
);

/** Objects with all their right fields but one, which is anything. */
export const mangled = (right: Readonly<Record<string, string>>) =>
  fc
    .tuple(fc.oneof(anyName, ...Object.keys(right).map((key) => fc.constant(key))), anyJson)
    .map(([field, json]) => {
      const fields = new Map(Object.entries(right)).set(field, json);
      return { field, text: `{${[...fields].map(([key, value]) => `${JSON.stringify(key)}:${value}`)}}` };
    });

const value = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }).map((text) => encodeURIComponent(text.toWellFormed())),
  fc.constantFrom(
    '%',
    '%ff',
    '-1',
    '1e9',
    '0',
    '99999999999999999999',
    'NaN',
    'a:b',
    ',',
    '%00',
    '[]',
    '2026-02-30',
  ),
);
const parameters = [
  ...['limit', 'cursor', 'status', 'type', 'label', 'q', 'waitFor', 'timeout', 'at', 'metric', 'from', 'to'],
  ...['order', 'interval', 'tz', 'aggregate', 'unknown', '__proto__', 'constructor'],
];
/** A query of up to three parameters, known or not, of any value. */
export const anyQuery = fc
  .array(fc.tuple(fc.constantFrom(...parameters), value), { minLength: 1, maxLength: 3 })
  .map((pairs) => pairs.map(([key, of]) => `${key}=${of}`).join('&'));
/** A part of an address, well encoded. */
export const anySegment = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 10 })
  .map((text) => encodeURIComponent(text.toWellFormed()))
  .filter((text) => text !== '.' && text !== '..');
