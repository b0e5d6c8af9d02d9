import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../support/eventually.ts';
import { bin, type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { ownEnvironment } from '../support/own-environment.ts';

type Value = number | string;
/** Values by moment, as `2012-01-01T00:00:00.000Z`, then by metric. */
type History = ReadonlyMap<string, ReadonlyMap<string, Value>>;
type Bucket = {
  start: string;
  metric: string;
  avg: number;
  min: number;
  max: number;
  sum: number;
  count: number;
};

const run = promisify(execFile);
const data = path.resolve(import.meta.dirname, '../../node_modules/vega-datasets/data');

const stations = {
  'seattle-daily': {
    file: 'seattle-weather.csv',
    options: ['--name', 'Seattle, day by day', '--type', 'weather-station', '--text', 'weather'],
    metrics: { precipitation: 1, temp_max: 2, temp_min: 3, wind: 4, weather: 5 },
    lines: 1461,
  },
  'seattle-hourly': {
    file: 'seattle-weather-hourly-normals.csv',
    options: ['--name', 'Seattle, an average year', '--type', 'weather-station'],
    metrics: { pressure: 1, temperature: 2, wind: 3 },
    lines: 8759,
  },
  'mauna-loa': {
    file: 'co2-concentration.csv',
    options: [
      '--name',
      'Mauna Loa',
      '--type',
      'observatory',
      '--metric',
      'CO2=co2',
      '--metric',
      'adjusted CO2',
    ],
    metrics: { co2: 1, adjusted_CO2: 2 },
    lines: 741,
  },
} as const;
type Station = keyof typeof stations;

/** The file read by other means than the import's own. */
function historyOf(station: Station): History {
  const { file, metrics } = stations[station];
  const [, ...lines] = readFileSync(path.join(data, file), 'utf8').trimEnd().split(/\r?\n/);
  return new Map(
    lines.map((line) => {
      const cells = line.split(',');
      const [date = ''] = cells;
      const moment = `${date.includes('T') ? date : `${date}T00:00:00`}.000Z`;
      const values = Object.entries(metrics).map(([metric, column]): [string, Value] => {
        const cell = cells[column] ?? '';
        return [metric, metric === 'weather' ? cell : Number(cell)];
      });
      return [moment, new Map(values)];
    }),
  );
}

describe('Seattle and Mauna Loa', function () {
  this.timeout(180_000);
  let folder: string;
  let server: FieldlogProcess;
  let url: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-vega-'));
  });
  after(async () => {
    await server?.end('SIGTERM');
    await rm(folder, { recursive: true });
  });

  async function cli(...args: readonly string[]) {
    const env = { ...ownEnvironment, DATA_DIR: folder };
    const { stdout, stderr } = await run(process.execPath, [bin, ...args, '--json'], { env });
    assert.equal(stderr, '');
    return JSON.parse(stdout);
  }

  const importStation = (station: Station, ...more: readonly string[]) => {
    const { file, options } = stations[station];
    return cli('import', path.join(data, file), '--device', station, ...options, ...more);
  };

  async function query<Answer>(device: string, parameters: Record<string, string>): Promise<Answer> {
    const answer = await fetch(
      `${url}/api/v1/devices/${device}/telemetry?${new URLSearchParams(parameters)}`,
    );
    assert.equal(answer.status, 200);
    return (await answer.json()) as Answer;
  }

  async function bucketsOf(station: Station, interval: string, tz = 'UTC'): Promise<readonly Bucket[]> {
    const { buckets } = await query<{ buckets: Bucket[] }>(station, { interval, tz, limit: '1000000' });
    return buckets.filter(({ metric }) => metric !== 'weather');
  }

  it('are imported, two into the files themselves and one through a server', async () => {
    for (const station of ['seattle-daily', 'seattle-hourly'] as const) {
      const { lines, accepted, refused, registered, complete } = await importStation(station);
      const all = stations[station].lines;
      assert.deepEqual(
        { lines, accepted, refused, registered, complete },
        { lines: all, accepted: all, refused: 0, registered: 1, complete: true },
      );
    }
    server = fieldlog(['serve'], { PORT: '0', DATA_DIR: folder });
    [, url = ''] = await server.says(/(http:\/\/\S+)/);
    assert.equal((await importStation('mauna-loa', '--url', url)).accepted, stations['mauna-loa'].lines);
  });

  it('are devices with their own history', async () => {
    await eventually(async () => {
      const devices: Record<string, string>[] = await cli('devices', 'list', '--url', url);
      assert.deepEqual(
        devices.map(({ deviceId, name, type }) => [deviceId, name, type]),
        [
          ['mauna-loa', 'Mauna Loa', 'observatory'],
          ['seattle-daily', 'Seattle, day by day', 'weather-station'],
          ['seattle-hourly', 'Seattle, an average year', 'weather-station'],
        ],
      );
    });
  });

  for (const station of Object.keys(stations) as Station[])
    it(`${station} has every value of its file, and no other`, async () => {
      const { points } = await query<{ points: { timestamp: string; metric: string; value: Value }[] }>(
        station,
        {
          limit: '1000000',
        },
      );
      const found = new Map<string, Map<string, Value>>();
      for (const { timestamp, metric, value } of points)
        found.set(timestamp, (found.get(timestamp) ?? new Map()).set(metric, value));
      const expected = historyOf(station);
      assert.equal(expected.size, stations[station].lines);
      assert.deepEqual(found, expected);
    });

  const calendars: readonly (readonly [station: Station, interval: string, tz: string, digits: number])[] = [
    ['seattle-hourly', '1d', 'UTC', 10],
    ['seattle-hourly', '1d', 'America/Los_Angeles', 10],
    ['seattle-hourly', '1mo', 'UTC', 7],
    ['seattle-daily', '1d', 'UTC', 10],
    ['seattle-daily', '1mo', 'UTC', 7],
    ['seattle-daily', '1mo', 'America/Los_Angeles', 7],
    ['mauna-loa', '1mo', 'UTC', 7],
    ['mauna-loa', '1y', 'UTC', 4],
  ];
  for (const [station, interval, tz, digits] of calendars)
    it(`${station} by ${interval} of ${tz} is what the file gives directly`, async () => {
      const localDate = new Intl.DateTimeFormat('en-CA', { timeZone: tz });
      const groups = new Map<string, number[]>();
      for (const [moment, values] of historyOf(station))
        for (const [metric, value] of values) {
          if (typeof value === 'string') continue;
          const key = `${localDate.format(new Date(moment)).slice(0, digits)} ${metric}`;
          groups.set(key, [...(groups.get(key) ?? []), value]);
        }
      const buckets = await bucketsOf(station, interval, tz);
      assert.deepEqual(
        buckets.map(({ start, metric }) => `${start.slice(0, digits)} ${metric}`).sort(),
        [...groups.keys()].sort(),
      );
      for (const { start, metric, ...stats } of buckets) {
        const values = groups.get(`${start.slice(0, digits)} ${metric}`) ?? [];
        const sum = values.reduce((total, value) => total + value, 0);
        assert.equal(stats.count, values.length);
        assert.equal(stats.min, Math.min(...values));
        assert.equal(stats.max, Math.max(...values));
        // Adding doubles one by one is not exact, which the sum of the read model is.
        assert.ok(Math.abs(stats.sum - sum) <= 1e-10 * (1 + Math.abs(sum)), `${start} ${metric}`);
        assert.ok(
          Math.abs(stats.avg - sum / values.length) <= 1e-10 * (1 + Math.abs(sum)),
          `${start} ${metric}`,
        );
      }
    });

  it('imported again are duplicates, all of them', async () => {
    const before = (await cli('status', '--url', url)).ledger;
    await importStation('mauna-loa', '--url', url);
    const { ledger } = await cli('status', '--url', url);
    assert.deepEqual(ledger, { ...before, duplicate: before.duplicate + stations['mauna-loa'].lines });
    assert.equal(ledger.stored, 1461 + 8759 + 741);
  });

  it('do not mind a fleet beside them, of which every accepted reading is found and counted', async () => {
    const fleet = ['--devices', '20', '--seconds', '3', '--rate', '400', '--batch', '20'];
    const report = await cli('simulate', ...fleet, '--duplicates', '0.02', '--late', '0.02', '--url', url);
    assert.deepEqual(report.differences, []);
    assert.ok(report.distinct > 0 && report.distinct <= 1200);
    assert.equal(report.ledger.stored, report.distinct);
    assert.equal(report.ledger.duplicate, report.accepted - report.distinct);
  });
});
