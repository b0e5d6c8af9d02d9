import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import type { MetricValue } from '../../../../domain/telemetry.ts';
import { runCli } from '../../../support/cli.ts';
import { type ServedFolder, servedFolder } from '../../../support/served.ts';

type Point = { readonly timestamp: string; readonly metric: string; readonly value: MetricValue };

const looksLikeAnother = fc.constantFrom(
  ...['5', '-1.50', '1e3', '.5', '0x10', 'Infinity', 'true', 'false', 'TRUE', 'NaN', 'null', '-', 'n/a'],
  ...[
    '',
    ' ',
    ' 5 ',
    ' text ',
    '"',
    '""',
    '"5"',
    'a,b',
    'a\r\nb',
    '\n',
    '\r',
    "'",
    '#',
    '=1+1',
    '\ufffd',
    '\ufeff',
  ],
);
const value = fc.oneof(
  looksLikeAnother,
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.boolean(),
  fc.double({ min: -1e300, max: 1e300, noNaN: true }),
  fc.constantFrom(2 ** 53, 1e21, 18446744073709552000, 5e-324),
);
const metrics = fc.dictionary(fc.constantFrom('a', 'b.1', '_c:/-'), value, { minKeys: 1 });
const history = fc.uniqueArray(
  fc.record({
    timestamp: fc.integer({ min: Date.UTC(1900), max: Date.UTC(2026) }),
    metrics,
  }),
  { minLength: 1, maxLength: 8, selector: ({ timestamp }) => timestamp },
);

describe("Fieldlog's own exports", function () {
  this.timeout(120_000);
  let served: ServedFolder;
  let folder: string;
  let devices = 0;

  before(async () => {
    served = await servedFolder();
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-round-trip-'));
  });
  after(async () => {
    await served.close();
    await rm(folder, { recursive: true });
  });

  async function imported(text: string, name: string, ...args: readonly string[]) {
    const file = path.join(folder, name);
    await writeFile(file, text);
    const { code, err, out } = await runCli(['import', file, ...args, '--url', served.url, '--json']);
    assert.deepEqual({ code, err }, { code: 0, err: '' }, out);
    return JSON.parse(out);
  }

  async function exported(device: string, type: string): Promise<string> {
    const answer = await fetch(`${served.url}/api/v1/devices/${device}/telemetry?limit=1000000&timeout=10s`, {
      headers: { Accept: type },
    });
    assert.equal(answer.status, 200);
    return answer.text();
  }

  const pointsOf = async (device: string): Promise<readonly Point[]> =>
    JSON.parse(await exported(device, 'application/json')).points;

  for (const [type, extension] of [
    ['text/csv', 'csv'],
    ['application/x-ndjson', 'ndjson'],
  ] as const)
    it(`of ${type} come back as they were`, async () => {
      await fc.assert(
        fc.asyncProperty(history, async (readings) => {
          devices += 1;
          const [first, second] = [`first-${devices}`, `second-${devices}`];
          const lines = readings.map((reading) => JSON.stringify({ deviceId: first, ...reading })).join('\n');
          await imported(lines, 'readings.ndjson', '--time-format', 'epoch-ms');
          const report = await imported(
            await exported(first, type),
            `export.${extension}`,
            '--device',
            second,
          );
          assert.equal(report.readings, readings.length);
          assert.deepEqual(await pointsOf(second), await pointsOf(first));
        }),
        { numRuns: 20 },
      );
    });

  it('of many devices, and whole answers of JSON, name their devices themselves', async () => {
    const readings = ['x', 'y'].map((id, i) => ({
      deviceId: `fleet-${id}`,
      timestamp: Date.UTC(2026, 0, 1 + i),
      metrics: { text: String(i), number: i },
    }));
    await imported(
      readings.map((reading) => JSON.stringify(reading)).join('\n'),
      'fleet.ndjson',
      '--type',
      'fleet',
    );
    for (const [type, name, ...args] of [
      ['text/csv', 'fleet.csv'],
      ['application/json', 'fleet.json', '--records', 'points'],
    ] as const) {
      const answer = await fetch(`${served.url}/api/v1/telemetry?type=fleet`, { headers: { Accept: type } });
      const { accepted } = await imported(await answer.text(), name, ...args);
      assert.equal(accepted, 4);
    }
    const status = await (await fetch(`${served.url}/api/v1/status`)).json();
    assert.equal((status as { ledger: { corrected: number } }).ledger.corrected, 0);
  });
});
