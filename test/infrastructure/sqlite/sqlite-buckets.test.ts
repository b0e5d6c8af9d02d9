import assert from 'node:assert/strict';
import { type BucketQuery, telemetryBuckets } from '../../../application/telemetry/buckets.ts';
import { luxonCalendar } from '../../../infrastructure/luxon-calendar.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import type { Opened } from '../../contracts/opened.ts';
import { collected } from '../../support/collected.ts';
import { inMemoryTelemetry } from '../../support/in-memory-telemetry.ts';
import { type ReadModelFixture, readModelFixture } from '../../support/read-model-fixture.ts';
import { reopenable } from './reopenable.ts';

const hour = 3_600_000;
const start = Date.UTC(2023, 0);

describe('Buckets over SqliteSql', () => {
  let opened: Opened<{ db: SqliteSql }>;
  let fixture: ReadModelFixture;
  const deviceIds = ['d-1', 'd-2'];
  const readings = deviceIds.flatMap((deviceId, d) =>
    Array.from({ length: 365 * 4 }, (_, n) => ({
      deviceId,
      timestamp: start + n * 6 * hour + d * 97 * 60_000,
      metrics: { temperature: n / 8, ...(n % 3 && { constructor: n % 2 === 0 }) },
    })),
  );
  const points = readings.flatMap(({ deviceId, timestamp, metrics }) =>
    Object.entries(metrics).map(([metric, value]) => ({ deviceId, timestamp, metric, value })),
  );

  before(async () => {
    opened = await reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));
    fixture = await readModelFixture(opened.db);
    await fixture.registered(...deviceIds.map((deviceId) => ({ deviceId })));
    await fixture.measured(...readings);
  });
  after(() => opened?.close());

  for (const tz of ['UTC', 'Europe/Berlin', 'Asia/Kolkata'])
    for (const scope of [{ deviceId: 'd-2' }, { devices: {} }])
      it(`are those of the points, in ${tz} for ${Object.keys(scope)[0]}`, async () => {
        for (const order of ['asc', 'desc'] as const)
          for (const [interval, limit] of [
            ['6h', 300],
            ['1d', 1000],
            ['1w', 10],
            ['1mo', 1000],
          ] as const) {
            const range = { from: start + 12_345, to: start + 300 * 24 * hour - 1 };
            const query: BucketQuery = { scope, range, interval, tz, order, limit };
            const { queries } = inMemoryTelemetry(points);
            const bucketsOf = (from: typeof queries) =>
              collected(telemetryBuckets(from, luxonCalendar()).buckets(query));
            assert.deepEqual(await bucketsOf(fixture.telemetry), await bucketsOf(queries));
          }
      });
});
