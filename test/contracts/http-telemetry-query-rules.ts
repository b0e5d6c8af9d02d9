import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { problemOf } from '../support/http-client.ts';
import type { HttpSubject } from './http.contract.ts';

const march = (day: number, hour = 0) => Date.UTC(2026, 2, day, hour);

export function httpTelemetryQueryRules({ call, pages, fresh }: HttpSubject): void {
  describe('queries of telemetry', () => {
    const type = fresh('station');
    let ids: string[];
    let path: string;
    let waitFor: string;

    before(async () => {
      ids = [fresh('a'), fresh('b')];
      path = `/api/v1/devices/${ids[0]}/telemetry`;
      await call('POST', '/api/v1/devices/bulk', {
        json: ids.map((deviceId) => ({ deviceId, name: 'S', type })),
      });
      // Two days around the change to summer time in Berlin, on the hour: 24 and 23 hours long there.
      const readings = Array.from({ length: 72 }, (_, hour) => ({
        deviceId: ids[0],
        timestamp: march(28) + hour * 3_600_000,
        metrics: { temp: hour, mode: hour % 2 ? 'eco' : '=max' },
      }));
      const other = { deviceId: ids[1], timestamp: march(29, 1), metrics: { temp: 1000 } };
      const { json } = await call('POST', '/api/v1/telemetry', { json: [...readings, other] });
      waitFor = json.positions.join();
      // Queries by type ask the device list, which has a log of its own.
      await eventually(async () => {
        const list = await call('GET', `/api/v1/devices?type=${type}`);
        assert.equal(list.json.devices.length, ids.length);
      });
    });

    it('give the points of a range, in either order, of some metrics or all', async () => {
      const values = async (query: string) =>
        (await call('GET', `${path}?waitFor=${waitFor}&${query}`)).json.points.map(
          ({ value }: { value: unknown }) => value,
        );
      assert.equal((await values('')).length, 144);
      assert.deepEqual(await values('metric=temp&to=2026-03-28T02:00Z'), [0, 1]);
      assert.deepEqual(await values(`metric=temp&from=${march(30, 22)}&order=desc`), [71, 70]);
      assert.deepEqual(await values('from=2026-03-28T02:00:00+01:00&to=2026-03-28T02:00Z&metric=mode,temp'), [
        'eco',
        1,
      ]);
      assert.deepEqual(await values('metric=mode&metric=temp&limit=3'), ['=max', 0, 'eco']);
      assert.deepEqual(await values('metric=nothing'), []);
    });

    it('come in pages that hold each point once', async () => {
      for (const order of ['asc', 'desc']) {
        const query = `${path}?waitFor=${waitFor}&order=${order}`;
        const [all] = await pages(query, 'points');
        const small = await pages(`${query}&limit=7`, 'points');
        assert.deepEqual(small.flat(), all);
        assert.ok(small.every((page) => page.length <= 7));
      }
    });

    it('give buckets that follow the calendar of a time zone', async () => {
      const days = async (query: string) =>
        (await call('GET', `${path}?waitFor=${waitFor}&metric=temp&interval=1d&${query}`)).json.buckets;
      assert.deepEqual((await days('tz=Europe/Berlin&aggregate=count,sum,first,last')).slice(1), [
        {
          start: '2026-03-29T00:00:00+01:00',
          end: '2026-03-30T00:00:00+02:00',
          metric: 'temp',
          count: 23,
          sum: 782,
          first: 23,
          last: 45,
        },
        {
          start: '2026-03-30T00:00:00+02:00',
          end: '2026-03-31T00:00:00+02:00',
          metric: 'temp',
          count: 24,
          sum: 1380,
          first: 46,
          last: 69,
        },
        {
          start: '2026-03-31T00:00:00+02:00',
          end: '2026-04-01T00:00:00+02:00',
          metric: 'temp',
          count: 2,
          sum: 141,
          first: 70,
          last: 71,
        },
      ]);
      assert.deepEqual(await days('order=desc&limit=1'), [
        {
          start: '2026-03-30T00:00:00Z',
          end: '2026-03-31T00:00:00Z',
          metric: 'temp',
          avg: 59.5,
          min: 48,
          max: 71,
          sum: 1428,
          count: 24,
        },
      ]);
      const small = await pages(`${path}?interval=6h&limit=5`, 'buckets');
      const [all] = await pages(`${path}?interval=6h`, 'buckets');
      assert.deepEqual(small.flat(), all);
      assert.equal(all?.length, 24);
    });

    it('go across devices, by what the devices are', async () => {
      const fleet = `/api/v1/telemetry?type=${type}&metric=temp&waitFor=${waitFor}`;
      const [points] = await pages(fleet, 'points');
      assert.deepEqual(
        points?.map(({ deviceId }) => deviceId),
        [...Array(72).fill(ids[0]), ids[1]],
      );
      const [buckets] = await pages(`${fleet}&interval=1d&aggregate=max`, 'buckets');
      assert.deepEqual(
        buckets?.map(({ max }) => max),
        [23, 1000, 71],
      );
      assert.deepEqual((await pages(`${fleet}&label=no:where`, 'points')).flat(), []);
      assert.deepEqual((await pages(`${fleet}&limit=10`, 'points')).flat(), points);
    });

    it('give what was measured last, of one device and of each', async () => {
      const latest = (await call('GET', `${path}/latest?waitFor=${waitFor}`)).json.points;
      const at = '2026-03-30T23:00:00.000Z';
      assert.deepEqual(latest, [
        { timestamp: at, metric: 'mode', value: 'eco' },
        { timestamp: at, metric: 'temp', value: 71 },
      ]);
      const each = await pages(`/api/v1/telemetry/latest?type=${type}&metric=temp&limit=1`, 'points');
      assert.deepEqual(
        each.flat().map(({ deviceId, value }) => [deviceId, value]),
        [
          [ids[0], 71],
          [ids[1], 1000],
        ],
      );
      const some = (query: string) => pages(`/api/v1/telemetry/latest?metric=temp&${query}`, 'points');
      const [one] = await some(`deviceId=${ids[1]},none`);
      assert.deepEqual(
        one?.map(({ deviceId }) => deviceId),
        [ids[1]],
      );
      assert.equal((await some(`deviceId=${ids[1]}&deviceId=${ids[0]}&type=${type}`)).flat().length, 2);
      assert.deepEqual((await some(`deviceId=${ids[0]}&type=none`)).flat(), []);
    });

    it('answer in CSV and in lines too, but in no other form', async () => {
      const query = `${path}?to=2026-03-28T01:00Z`;
      const as = (accept: string, of = query) => call('GET', of, { headers: { Accept: accept } });
      const csv = await as('text/csv');
      assert.equal(csv.headers.get('Content-Type'), 'text/csv; charset=utf-8');
      const at = '2026-03-28T00:00:00.000Z';
      assert.equal(csv.text, `timestamp,metric,value\r\n${at},mode,=max\r\n${at},temp,0\r\n`);
      const lines = await as('application/x-ndjson');
      assert.deepEqual(
        lines.text
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line)),
        (await as('*/*')).json.points,
      );
      const buckets = await as('text/csv', `${path}?interval=1mo&aggregate=avg,first`);
      assert.equal(
        buckets.text,
        'start,end,metric,avg,first\r\n2026-03-01T00:00:00Z,2026-04-01T00:00:00Z,mode,,=max\r\n2026-03-01T00:00:00Z,2026-04-01T00:00:00Z,temp,35.5,0\r\n',
      );
      assert.deepEqual(problemOf(await as('application/xml')), [406, 'not-acceptable']);
      const fleet = await as('text/csv', `/api/v1/telemetry?type=${type}&metric=temp&limit=1`);
      assert.equal(fleet.text, `deviceId,timestamp,metric,value\r\n${ids[0]},${at},temp,0\r\n`);
    });

    it('name every parameter that is wrong, and what would be right', async () => {
      const wrong = async (query: string) =>
        (await call('GET', `${path}?${query}`)).json.errors.map(({ path }: { path: string }) => path).sort();
      assert.deepEqual(await wrong('limit=0&order=up&metric=a%20b&colour=red'), [
        '/colour',
        '/limit',
        '/metric/0',
        '/order',
      ]);
      assert.deepEqual(await wrong('from=2026-01-02T00:00Z&to=2026-01-01T00:00Z'), ['/to']);
      assert.deepEqual(await wrong('interval=7h'), ['/interval']);
      assert.deepEqual(await wrong('interval=1d&tz=Mars/Base'), ['/tz']);
      assert.deepEqual(await wrong('interval=1d&aggregate=median'), ['/aggregate/0']);
      assert.deepEqual(await wrong('aggregate=avg'), ['/aggregate']);
      assert.deepEqual(await wrong('from=1&from=2&cursor=abc&limit=20000000'), ['/from', '/limit']);
      assert.deepEqual(await wrong('waitFor=somewhere&timeout=31s'), ['/timeout', '/waitFor/0']);
    });
  });
}
