import assert from 'node:assert/strict';
import fc from 'fast-check';
import { greatestRecord } from '../../../../interfaces/import/cells.ts';
import { csvRows } from '../../../../interfaces/import/csv-rows.ts';
import { jsonRows, ndjsonRows } from '../../../../interfaces/import/json-rows.ts';
import { failOnUnhandledRejections } from '../../../support/unhandled-rejections.ts';

/** The text in chunks of those lengths, the last of them repeated. */
async function* chunksOf(text: string, lengths: readonly number[] = [text.length]): AsyncGenerator<string> {
  let at = 0;
  for (let i = 0; at < text.length; i += 1) {
    const length = Math.max(1, lengths[Math.min(i, lengths.length - 1)] ?? 1);
    yield text.slice(at, at + length);
    at += length;
  }
}

async function all<Item>(chunks: AsyncIterable<Iterable<Item>>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const chunk of chunks) found.push(...chunk);
  return found;
}

const plain = { delimiter: ',', skip: 0, skipRows: 0, comment: undefined };

const readers = {
  csv: async (text: AsyncIterable<string>) => all((await csvRows(text, plain)).rows),
  ndjson: async (text: AsyncIterable<string>) => all(ndjsonRows(text)),
  json: async (text: AsyncIterable<string>) => all(jsonRows(text)),
};

describe('The rows of a file', () => {
  failOnUnhandledRejections();

  it('of CSV have their line, and stray quotes are text', async () => {
    const text = 'a,b\n1,2\n\n3,"x\ny"\n4,5,6\n7,"a"b\n8,9\n10\n11,he said "no"\n12,13';
    assert.deepEqual(await readers.csv(chunksOf(text)), [
      { line: 2, values: { a: '1', b: '2' } },
      { line: 5, values: { a: '3', b: 'x\ny' } },
      { line: 6, fault: 'has 3 cells for 2 columns', cells: ['4', '5', '6'] },
      { line: 7, values: { a: '7', b: '"a"b' } },
      { line: 8, values: { a: '8', b: '9' } },
      { line: 9, fault: 'has 1 cells for 2 columns', cells: ['10'] },
      { line: 10, values: { a: '11', b: 'he said "no"' } },
      { line: 11, values: { a: '12', b: '13' } },
    ]);
  });

  it('of CSV end at a quote that is never closed', async () => {
    const [first, broken, ...others] = await readers.csv(chunksOf('a,b\n1,2\n3,"4\n5,6\n7,8\n'));
    assert.deepEqual(first, { line: 2, values: { a: '1', b: '2' } });
    assert.ok(broken && 'fault' in broken && /never closed/.test(broken.fault));
    assert.deepEqual(others, []);
  });

  it('of NDJSON need not end with a line end, and blank lines are none', async () => {
    const rows = await readers.ndjson(chunksOf('{"a":1}\r\n\n[1]\n{"a":\n{"a":"é"}'));
    assert.deepEqual(
      rows.map((row) => ('fault' in row ? { ...row, fault: row.fault.slice(0, 11) } : row)),
      [
        { line: 1, values: { a: 1 } },
        { line: 3, fault: 'must be a J' },
        { line: 4, fault: 'is not JSON' },
        { line: 5, values: { a: 'é' } },
      ],
    );
  });

  it('of a JSON array have the line they begin on', async () => {
    const text = '[\n{"a": "]},\\"\\\\"},\n  {\n"b": [1, {"c": []}]},7,\n{"d":\n\n1} ]\n';
    assert.deepEqual(await readers.json(chunksOf(text)), [
      { line: 2, values: { a: ']},"\\' } },
      { line: 3, values: { b: [1, { c: [] }] } },
      { line: 4, fault: 'must be a JSON object' },
      { line: 5, values: { d: 1 } },
    ]);
  });

  it('of a JSON array tell what is wrong with the array itself', async () => {
    assert.deepEqual(await readers.json(chunksOf('[]')), []);
    assert.deepEqual(await readers.json(chunksOf('[{},\n,{}]')), [
      { line: 1, values: {} },
      { line: 2, fault: 'has a comma with nothing before it' },
      { line: 2, values: {} },
    ]);
    assert.deepEqual(await readers.json(chunksOf('[{}')), [
      { line: 1, values: {} },
      { line: 1, fault: 'ends the file before the array ends' },
    ]);
    assert.deepEqual(await readers.json(chunksOf('{"a":1}}')), [
      { line: 1, values: { a: 1 } },
      { line: 1, fault: 'has a "}" that closes nothing' },
    ]);
    assert.deepEqual(await readers.json(chunksOf('{"a":\n[1')), [
      { line: 1, fault: 'ends the file before it is whole' },
    ]);
  });

  it('of JSON follow each other on any lines, objects and arrays', async () => {
    const rows = [
      { line: 1, values: { a: 1 } },
      { line: 1, values: { b: 2 } },
      { line: 2, values: { c: 3 } },
      { line: 4, values: { d: 4 } },
    ];
    assert.deepEqual(await readers.json(chunksOf('{"a":1}{"b":2}\n{\n"c":3}\n[{"d":4}]')), rows);
    assert.deepEqual(await readers.ndjson(chunksOf('{"a":1} {"b":2}\n{"c":3}')), rows.slice(0, 3));
  });

  it('of JSON are those at a path, in every value', async () => {
    const at = (text: string, ...path: string[]) => all(jsonRows(chunksOf(text, [3]), path));
    const envelope = '{"x":[{"rows":[{"no":1}]}],"rows":[{"a":{"rows":[]}},\n{"a":2}],"z":{"rows":[1]}}\n';
    assert.deepEqual(await at(`${envelope}{"rows":[{"b":3}]}`, 'rows'), [
      { line: 1, values: { a: { rows: [] } } },
      { line: 2, values: { a: 2 } },
      { line: 3, values: { b: 3 } },
    ]);
    assert.deepEqual(await at('{"a":{"b":[{"x":1}],"c":1},"b":[{"y":1}]}', 'a', 'b'), [
      { line: 1, values: { x: 1 } },
    ]);
    assert.deepEqual(await at('{"a":{"b":{"x":1}}}', 'a', 'b'), [{ line: 1, values: { x: 1 } }]);
    assert.deepEqual(await at('{"a":{"c":[]}}', 'a', 'b'), [
      { line: 1, fault: 'ends the file without an array at "a.b"' },
    ]);
  });

  it('of JSON keep the digits of integers that a double cannot hold', async () => {
    const [row] = await readers.ndjson(chunksOf('{"a":9007199254740993,"b":9007199254740992,"c":1e400}'));
    assert.deepEqual(row, {
      line: 1,
      values: { a: 9007199254740993n, b: 2 ** 53, c: Number.POSITIVE_INFINITY },
    });
  });

  it('that are endless are refused without being kept', async () => {
    const endless = 'x'.repeat(3 * greatestRecord);
    const texts = {
      csv: `a\n1\n${endless}\n`,
      ndjson: `{"a":1}\n${endless}\n{"a":2}\n`,
      json: `[{"a":1},\n"${endless}",\n{"a":2}]`,
    };
    for (const [form, text] of Object.entries(texts)) {
      const [first, broken] = await readers[form as keyof typeof readers](chunksOf(text, [65_536]));
      assert.ok(first && 'values' in first && Number(first.values.a) === 1, form);
      assert.ok(broken && 'fault' in broken && /more than 1048576 characters/.test(broken.fault), form);
    }
  });

  it('are the same in whatever chunks the text comes', async () => {
    const nasty = fc.string({
      unit: fc.constantFrom('a', ',', '"', '\n', '\r', '{', '}', '[', ']', '\\', ' ', 'é', '1'),
    });
    const forms = fc.constantFrom(...(Object.keys(readers) as (keyof typeof readers)[]));
    await fc.assert(
      fc.asyncProperty(
        forms,
        nasty,
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }),
        async (form, tail, lengths) => {
          const text = { csv: `a,b\n1,2\n${tail}`, ndjson: `{"a":1}\n${tail}`, json: `[{"a":1},${tail}` }[
            form
          ];
          assert.deepEqual(await readers[form](chunksOf(text, lengths)), await readers[form](chunksOf(text)));
        },
      ),
      { numRuns: 300 },
    );
  });
});
