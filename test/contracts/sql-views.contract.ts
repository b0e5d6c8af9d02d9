import assert from 'node:assert/strict';
import type { MetricValue } from '../../domain/telemetry.ts';
import type { SqlQueries } from '../../infrastructure/sql/sql.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpClient, httpClient } from '../support/http-client.ts';
import type { ServedViews } from '../support/served-views.ts';

type Row = Record<string, string | number | null>;

const day = Date.UTC(2026, 0, 1);
const metrics = ['temp', 'whole', 'on', 'mode', 'mixed', 'a.b:c/d-e_f'];
const doubles = [0.1, -0.1, 1 / 3, 5e-324, -1e300, 123456789.12345679, 9007199254740991, 2 ** 60, 1e21, -0.5];
const texts = ['', 'null', 'true', '12', '"quoted" \\ back', 'Ä – 😀', 'eco'];

/** Numbers whole and not, booleans, texts that look like other things, a metric of several types, times before 1970. */
const readings = [
  ...doubles.map((temp, i) => ({ deviceId: 'a', timestamp: day + i * 20_011, metrics: { temp, whole: i } })),
  ...texts.map((mode, i) => ({
    deviceId: 'a',
    timestamp: day + 86_400_000 + i,
    metrics: { mode, on: i % 2 === 0 },
  })),
  ...[9, 10, 100].map((temp, i) => ({ deviceId: 'b', timestamp: day + i * 1000, metrics: { temp } })),
  { deviceId: 'b', timestamp: -1, metrics: { temp: 2, 'a.b:c/d-e_f': 1 } },
  { deviceId: 'b', timestamp: -62_135_596_800_000 + 3_600_000, metrics: { mixed: 'a' } },
  { deviceId: 'b', timestamp: day + 5000, metrics: { mixed: 7 } },
  { deviceId: 'b', timestamp: day + 5001, metrics: { mixed: true } },
  { deviceId: 'b', timestamp: day + 5002, metrics: { mixed: 'last' } },
];

/** The type of each column; `time` is ISO text in SQLite, which has no type for it, and DATETIME elsewhere. */
const typed = (name: string) => ({
  [name]: 'real',
  [`${name}_number`]: 'real',
  [`${name}_text`]: 'text',
  [`${name}_bool`]: 'integer',
});
const rollup = {
  ...{
    device_id: 'text',
    bucket: 'time',
    ts: 'integer',
    metric: 'text',
    count: 'integer',
    numbers: 'integer',
  },
  ...{ avg: 'real', sum: 'real', min: 'real', max: 'real', ...typed('first'), ...typed('last') },
};
const columns: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  devices: {
    ...{ device_id: 'text', name: 'text', type: 'text', status: 'text', labels: 'text', revision: 'integer' },
    ...{ registered_at: 'text', updated_at: 'text' },
  },
  device_labels: { device_id: 'text', label: 'text', value: 'text' },
  device_history: {
    ...{
      device_id: 'text',
      revision: 'integer',
      event: 'text',
      changes: 'text',
      reason: 'text',
      actor: 'text',
    },
    ...{ at: 'text', correlation_id: 'text', causation_id: 'text', event_id: 'text' },
  },
  telemetry: {
    ...{
      device_id: 'text',
      at: 'time',
      ts: 'integer',
      metric: 'text',
      ...typed('value'),
      received_at: 'integer',
    },
    ...{ correlation_id: 'text', position: 'text', corrected_by: 'text' },
  },
  telemetry_latest: { device_id: 'text', metric: 'text', ...typed('value'), at: 'time', ts: 'integer' },
  telemetry_1m: rollup,
  telemetry_1h: rollup,
  telemetry_1d: rollup,
  telemetry_ledger: {
    ...{ device_id: 'text', day: 'time', stored: 'integer', duplicate: 'integer', corrected: 'integer' },
    ...{
      dead_lettered: 'integer',
      late: 'integer',
      retracted: 'integer',
      expired: 'integer',
      stored_count: 'integer',
    },
  },
};

/** What analysts select must be what the API answers, in columns of one type, on every engine. */
export function sqlViewsContract(open: () => Promise<ServedViews>): void {
  let subject: ServedViews;
  let call: HttpClient;
  const select = async (text: string): Promise<Row[]> =>
    (await subject.sql.all<Row>(text)).map((row) => ({ ...row }));
  const answer = async (path: string) => {
    const { status, json, text } = await call('GET', `/api/v1${path}`);
    assert.equal(status, 200, text);
    return json;
  };

  before(async () => {
    subject = await open();
    call = httpClient(subject.url);
    const devices = [
      { deviceId: 'a', name: 'Ä “one”', type: 'meter', labels: { site: 'north', floor: '2' } },
      { deviceId: 'b', name: 'B', type: 'boiler' },
    ];
    for (const device of devices)
      assert.equal((await call('POST', '/api/v1/devices', { json: device })).status, 201);
    await call('POST', '/api/v1/devices/b/suspend', { json: { reason: 'maintenance' } });
    await call('POST', '/api/v1/devices/b/reinstate', { json: {} });
    await call('POST', '/api/v1/telemetry', { json: readings });
    // A correction and a duplicate.
    const again = [{ ...readings[0], metrics: { temp: 0.25 } }, { ...readings[1] }];
    const sent = await call('POST', '/api/v1/telemetry', { json: again });
    await call('GET', `/api/v1/devices/a/telemetry?waitFor=${sent.json.positions.join()}&timeout=30s`);
    await eventually(async () => assert.equal((await answer('/devices/b/history')).history.length, 3));
    await eventually(async () => assert.equal((await answer('/devices')).devices.length, 2));
  });
  after(() => subject?.close());

  it('have columns of one type each', async () => {
    for (const [view, types] of Object.entries(columns)) {
      const found = await typesOf(subject.sql, view);
      assert.deepEqual([...found.keys()].sort(), Object.keys(types).sort(), view);
      for (const [column, type] of Object.entries(types))
        for (const one of found.get(column) ?? []) assert.equal(one, type, `${view}.${column}`);
    }
  });

  it('show devices, their labels and their history', async () => {
    const { devices } = await answer('/devices');
    const rows = await select('SELECT * FROM devices ORDER BY device_id');
    assert.deepEqual(
      rows.map(({ device_id, registered_at, updated_at, labels, ...same }) => ({
        ...{ ...same, deviceId: device_id, registeredAt: registered_at, updatedAt: updated_at },
        labels: JSON.parse(String(labels)),
      })),
      devices,
    );
    assert.deepEqual(await select('SELECT label, value FROM device_labels ORDER BY device_id, label'), [
      { label: 'floor', value: '2' },
      { label: 'site', value: 'north' },
    ]);
    for (const id of ['a', 'b']) {
      const { history } = await answer(`/devices/${id}/history`);
      const found = await select(
        `SELECT revision, event, changes, reason, actor, at FROM device_history WHERE device_id = '${id}' ORDER BY revision`,
      );
      assert.deepEqual(
        found.map(({ changes, ...row }) => ({ ...row, changes: JSON.parse(String(changes)) })),
        history.map(({ revision, event, changes, reason = null, actor, at }: Row) => ({
          ...{ revision, event, reason, actor, at, changes },
        })),
      );
    }
  });

  it('show every point with the value the API shows', async () => {
    for (const id of ['a', 'b']) {
      const { points } = await answer(`/devices/${id}/telemetry`);
      const rows = await select(
        `SELECT at, ts, metric, ${typedColumns('value')} FROM telemetry WHERE device_id = '${id}' ORDER BY ts, metric`,
      );
      assert.deepEqual(
        rows.map((row) => [isoOf(row.at), row.ts, row.metric, typedValue(row, 'value')]),
        points.map(({ timestamp, metric, value }: Row) => [
          timestamp,
          Date.parse(String(timestamp)),
          metric,
          value,
        ]),
      );
      for (const row of rows) checkTyped(row, 'value');
    }
  });

  it('show the newest value of each metric', async () => {
    for (const id of ['a', 'b']) {
      const { points } = await answer(`/devices/${id}/telemetry/latest`);
      const rows = await select(
        `SELECT at, ts, metric, ${typedColumns('value')} FROM telemetry_latest WHERE device_id = '${id}' ORDER BY metric`,
      );
      assert.deepEqual(
        rows.map((row) => ({
          timestamp: isoOf(row.at),
          metric: row.metric,
          value: typedValue(row, 'value'),
        })),
        points,
      );
      for (const row of rows) {
        checkTyped(row, 'value');
        assert.equal(row.ts, Date.parse(isoOf(row.at)));
      }
    }
  });

  for (const level of ['1m', '1h', '1d'])
    it(`show the rollups of ${level} as the API's buckets`, async () => {
      for (const id of ['a', 'b']) {
        const aggregates = 'count,avg,sum,min,max,first,last';
        const { buckets } = await answer(
          `/devices/${id}/telemetry?interval=${level}&aggregate=${aggregates}&tz=UTC&limit=10000`,
        );
        const rows = await select(
          `SELECT * FROM telemetry_${level} WHERE device_id = '${id}' ORDER BY ts, metric`,
        );
        assert.deepEqual(
          rows.map((row) => ({
            ...{ start: isoOf(row.bucket), metric: row.metric, count: row.count },
            ...{ avg: row.avg, sum: row.sum, min: row.min, max: row.max },
            ...{ first: typedValue(row, 'first'), last: typedValue(row, 'last') },
          })),
          buckets
            .map(({ end: _, start, ...bucket }: Row) => ({
              ...bucket,
              start: new Date(String(start)).toISOString(),
            }))
            .sort((a: Row, b: Row) => compare(a.start, b.start) || compare(a.metric, b.metric)),
        );
        for (const row of rows) {
          checkTyped(row, 'first');
          checkTyped(row, 'last');
          assert.equal(row.ts, Date.parse(isoOf(row.bucket)));
        }
      }
    });

  it('count in the ledger what the status counts', async () => {
    const { ledger } = await answer('/status');
    const names = ['stored', 'duplicate', 'corrected', 'dead_lettered', 'late', 'retracted', 'expired'];
    const [sums] = await select(
      `SELECT ${names.map((name) => `SUM(l.${name}) AS "${name}_sum"`)} FROM telemetry_ledger l`,
    );
    const counted = (name: string) => Number(sums?.[`${name}_sum`]);
    assert.deepEqual(
      names.map(counted),
      ['stored', 'duplicate', 'corrected', 'deadLettered', 'late', 'retracted', 'expired'].map(
        (name) => ledger[name],
      ),
    );
    assert.equal(counted('corrected'), 1);
  });

  it('compare, order and average as numbers', async () => {
    const temp = "FROM telemetry WHERE device_id = 'b' AND metric = 'temp' AND ts > 0";
    for (const value of ['value', 'value_number']) {
      assert.deepEqual(await select(`SELECT MAX(${value}) AS most, MIN(${value}) AS least ${temp}`), [
        { most: 100, least: 9 },
      ]);
      const ordered = await select(`SELECT ${value} AS v ${temp} ORDER BY ${value}`);
      assert.deepEqual(
        ordered.map(({ v }) => v),
        [9, 10, 100],
      );
      const [average] = await select(`SELECT AVG(${value}) AS v, MAX(${value}) / 8 AS eighth ${temp}`);
      assert.ok(Math.abs(Number(average?.v) - 119 / 3) < 1e-9, String(average?.v));
      assert.equal(average?.eighth, 12.5);
      assert.equal((await select(`SELECT value ${temp} AND ${value} > 9.5`)).length, 2);
    }
    const [mean] = await select(
      "SELECT SUM(sum) / SUM(numbers) AS v FROM telemetry_1m WHERE device_id = 'b' AND metric = 'temp' AND ts > 0",
    );
    assert.equal(Number(mean?.v), 119 / 3);
    const [rolled] = await select(
      "SELECT MAX(max) AS most, MIN(min) AS least, SUM(sum) AS total FROM telemetry_1m WHERE device_id = 'b' AND metric = 'temp' AND ts > 0",
    );
    assert.deepEqual(rolled, { most: 100, least: 9, total: 119 });
  });

  it('have no sum, average, minimum or maximum where there are no numbers', async () => {
    for (const metric of ['on', 'mode'])
      assert.deepEqual(
        await select(
          `SELECT count FROM telemetry_1d WHERE metric = '${metric}' AND numbers = 0 AND sum IS NULL AND avg IS NULL AND min IS NULL AND max IS NULL`,
        ),
        [{ count: texts.length }],
      );
  });

  it('average booleans as the share that was true, and leave text out', async () => {
    const [on] = await select(
      "SELECT AVG(value) AS share, SUM(value_bool) AS times, COUNT(value_number) AS numbers FROM telemetry WHERE metric = 'on'",
    );
    assert.deepEqual(
      [Number(on?.share).toFixed(6), Number(on?.times), on?.numbers],
      [(4 / 7).toFixed(6), 4, 0],
    );
    const mode = "FROM telemetry WHERE metric = 'mode'";
    assert.deepEqual(await select(`SELECT COUNT(value) AS n, COUNT(value_text) AS texts ${mode}`), [
      { n: 0, texts: texts.length },
    ]);
    assert.deepEqual(await select(`SELECT value_text AS v ${mode} AND value_text = 'null'`), [{ v: 'null' }]);
  });

  it('have every metric by its name', async () => {
    const rows = await select('SELECT DISTINCT metric FROM telemetry ORDER BY metric');
    assert.deepEqual(
      rows.map(({ metric }) => metric),
      [...metrics].sort(),
    );
  });
}

const typedColumns = (name: string) => [name, `${name}_number`, `${name}_text`, `${name}_bool`].join();

/** The value that three typed columns stand for. */
function typedValue(row: Row, name: string): MetricValue {
  const [number, text, bool] = ['number', 'text', 'bool'].map((type) => row[`${name}_${type}`] ?? null);
  assert.equal([number, text, bool].filter((one) => one !== null).length, 1, JSON.stringify(row));
  return (number ?? text ?? bool === 1) as MetricValue;
}

const checkTyped = (row: Row, name: string) =>
  assert.equal(row[name], row[`${name}_number`] ?? row[`${name}_bool`], JSON.stringify(row));

/** DATETIME comes as text without its zone, which is UTC. */
const isoOf = (time: unknown) =>
  new Date(`${String(time).replace(' ', 'T').replace(/Z$/, '')}Z`).toISOString();

const compare = (a: unknown, b: unknown) => (String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0);

/** The types of a view's columns: as declared in MySQL, as found in every row in SQLite. */
async function typesOf(sql: SqlQueries, view: string): Promise<Map<string, readonly string[]>> {
  if (sql.dialect === 'mysql') {
    const found = await sql.rows<[string, string]>(
      'SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?',
      [view],
    );
    return new Map(found.map(([column, type]) => [column, [mysqlTypes[type] ?? type]]));
  }
  const names = await sql.rows<[string]>('SELECT name FROM pragma_table_info(?)', [view]);
  const types = new Map<string, readonly string[]>();
  for (const [name] of names) {
    const found = await sql.rows<[string, string | null]>(
      `SELECT DISTINCT typeof("${name}"), CASE WHEN "${name}" GLOB '*-*-*T*:*:*.*Z' THEN 'time' END FROM ${view} WHERE "${name}" IS NOT NULL`,
    );
    const isTime = columns[view]?.[name] === 'time';
    types.set(
      name,
      isTime ? found.map(([, time]) => time ?? 'no time') : [...new Set(found.map(([type]) => type))],
    );
  }
  return types;
}

const mysqlTypes: Readonly<Record<string, string>> = {
  double: 'real',
  bigint: 'integer',
  int: 'integer',
  varchar: 'text',
  mediumtext: 'text',
  longtext: 'text',
  datetime: 'time',
};
