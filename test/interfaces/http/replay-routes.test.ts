import assert from 'node:assert/strict';
import { versionOf } from '../../../application/projections/projection.ts';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { checkedClient } from '../../support/checked-client.ts';
import { eventually } from '../../support/eventually.ts';
import type { HttpClient } from '../../support/http-client.ts';
import { quiet, type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

describe('The API for operators', function () {
  this.timeout(60_000);
  let fixture: ReplayFixture;
  let served: Awaited<ReturnType<typeof serve>>;
  let call: HttpClient;

  before(async () => {
    fixture = await replayFixture();
    served = await serve(configFrom({ DATA_DIR: fixture.folder, PORT: '0', LOG_LEVEL: 'silent' }), quiet);
    call = await checkedClient(served.url);
    await fixture.register('a');
    await fixture.measure('a', [
      [1000, { temp: 1, hum: 5 }],
      [2000, { temp: 2 }],
    ]);
  });
  after(async () => {
    await served?.close();
    await fixture.close();
  });

  const post = (path: string, json?: unknown) => call('POST', path, json === undefined ? {} : { json });
  const projection = async (name: string) => (await call('GET', `/api/v1/projections/${name}`)).json;
  const built = (name: string, generation: number) =>
    eventually(
      async () => {
        const found = await projection(name);
        assert.equal(found.active, generation);
        assert.ok(found.generations.every(({ runner }: { runner: string | null }) => runner === null));
        return found;
      },
      { within: 20_000 },
    );
  const points = async (query: string) => {
    const { json } = await call('GET', `/api/v1/devices/a/telemetry?${query}`);
    return json.points.map((point: { timestamp: string; metric: string; value: unknown }) => [
      Date.parse(point.timestamp),
      point.metric,
      point.value,
    ]);
  };

  it('rebuilds beside the requests, says how it goes, goes back and drops', async () => {
    const { status, json, headers } = await post('/api/v1/projections/telemetry/rebuild', { throttle: 100 });
    assert.equal(status, 202);
    assert.deepEqual(json, { projection: 'telemetry', generation: 2, resumed: false });
    assert.equal(headers.get('Location'), '/api/v1/projections/telemetry');
    const done = await built('telemetry', 2);
    assert.equal(done.generations[1].outcome.result, 'switched');
    assert.equal(done.generations[1].outcome.comparison.equal, true);
    assert.equal(done.generations[1].progress.done, 2);

    assert.equal((await post('/api/v1/projections/telemetry/rollback')).status, 202);
    await built('telemetry', 1);
    assert.equal((await post('/api/v1/projections/telemetry/drop', { generation: 1 })).status, 409);
    const dropped = await post('/api/v1/projections/telemetry/drop', { generation: 2 });
    assert.deepEqual(
      dropped.json.generations.map(({ generation }: { generation: number }) => generation),
      [1],
    );
  });

  it('tells a second operator who is at it', async () => {
    const { control } = fixture.ports;
    const alice = { id: 'rebuild telemetry (Alice)', isExpired: () => false };
    const wanted = { projection: 'telemetry', version: versionOf('telemetry'), device: null };
    const { generation } = await control.claim(wanted, alice);
    const second = await post('/api/v1/projections/telemetry/rebuild');
    assert.equal(second.status, 409);
    assert.match(second.json.type, /rebuild-under-way$/);
    assert.equal(second.json.runner, alice.id);
    await control.drop({ projection: 'telemetry', generation }, alice);
  });

  it('rebuilds one device', async () => {
    const { status, json } = await post('/api/v1/projections/devices/rebuild', { deviceId: 'a' });
    assert.equal(status, 202, JSON.stringify(json));
    await eventually(async () => assert.equal((await projection('devices')).generations.length, 1));
  });

  it('says no where there is nothing to switch to, nothing by that name, nothing of that form', async () => {
    assert.equal((await post('/api/v1/projections/telemetry/switch')).status, 409);
    assert.equal((await call('GET', '/api/v1/projections/dreams')).status, 404);
    assert.equal((await post('/api/v1/projections/dreams/rebuild')).status, 404);
    assert.equal((await post('/api/v1/projections/telemetry/rebuild', { throttle: 0 })).status, 400);
    assert.equal((await call('GET', '/api/v1/projections/telemetry/digest?generation=77')).status, 409);
  });

  it('pauses and resumes', async () => {
    assert.equal((await post('/api/v1/projections/telemetry/pause')).json.paused, true);
    assert.equal((await post('/api/v1/projections/telemetry/resume')).json.paused, false);
  });

  it('tells the digest of a generation', async () => {
    const { json } = await call('GET', '/api/v1/projections/devices/digest');
    assert.equal(json.generation, 1);
    assert.deepEqual(
      json.tables.map(({ table, rows }: { table: string; rows: number }) => [table, rows]),
      [
        ['devices', 1],
        ['device_labels', 0],
      ],
    );
  });

  it('lists, shows, retries and discards dead letters', async () => {
    await fixture.publishRaw({ deviceId: 'late', timestamp: 1, metrics: { n: 1 } });
    await fixture.publishRaw({ deviceId: 'late', timestamp: 2, metrics: { n: 'x'.repeat(1000) } });
    const waiting = await eventually(async () => {
      const { json } = await call('GET', '/api/v1/dead-letters?projection=telemetry');
      assert.equal(json.deadLetters.length, 2);
      return json.deadLetters;
    });
    assert.deepEqual(
      waiting.map(({ cause, stream }: { cause: string; stream: string }) => [stream, cause]),
      [
        ['device-late', 'unknown-device'],
        ['device-late', 'malformed'],
      ],
    );
    const shown = (await call('GET', `/api/v1/dead-letters/${waiting[0].id}`)).json;
    assert.equal(shown.event.data.deviceId, 'late');
    assert.equal((await call('GET', '/api/v1/dead-letters/999999')).status, 404);

    await fixture.register('late');
    const { json } = await post('/api/v1/dead-letters/retry', { all: true });
    assert.deepEqual(
      json.streams.map(({ applied, failed }: { applied: number; failed: { cause: string } }) => [
        applied,
        failed.cause,
      ]),
      [[1, 'malformed']],
    );
    assert.equal((await post('/api/v1/dead-letters/retry', {})).status, 400);
    assert.equal(
      (await post('/api/v1/dead-letters/discard', { stream: 'device-late', reason: 'x' })).status,
      400,
    );
    const discarded = await post('/api/v1/dead-letters/discard', {
      id: waiting[1].id,
      reason: 'Firmware 1.3',
    });
    assert.deepEqual(discarded.json, { discarded: 1 });
    const gone = (await call('GET', '/api/v1/dead-letters?discarded=true')).json.deadLetters;
    assert.equal(gone[0].discarded.reason, 'Firmware 1.3');
    assert.deepEqual((await call('GET', '/api/v1/dead-letters/counts')).json.counts, [
      { projection: 'telemetry', cause: 'malformed', waiting: 0, discarded: 1 },
    ]);
  });

  it('audits', async () => {
    const { status, json } = await call('GET', '/api/v1/audit');
    assert.equal(status, 200);
    assert.deepEqual(json.differences, []);
    assert.equal(json.totals.accepted, 4);
    assert.equal(json.totals.deadLettered, 1);
    assert.equal(
      (await call('GET', '/api/v1/audit?device=a&from=2000-01-01T00:00:00Z')).json.totals.accepted,
      2,
    );
    assert.equal((await call('GET', '/api/v1/audit?device=no%20id')).status, 400);
  });

  it('takes back what a device said; the originals can be asked for as they were', async () => {
    const before = Date.now();
    const { status, json } = await post('/api/v1/devices/a/telemetry/retractions', {
      metric: 'temp',
      from: 0,
      to: '1970-01-01T00:00:01.500Z',
      reason: 'Sensor in the sun',
    });
    assert.equal(status, 202);
    const fresh = `waitFor=${json.positions[0]}`;
    assert.deepEqual(await points(fresh), [
      [1000, 'hum', 5],
      [2000, 'temp', 2],
    ]);
    const latest = await call('GET', `/api/v1/devices/a/telemetry/latest?${fresh}`);
    assert.deepEqual(
      latest.json.points.map(({ metric, value }: { metric: string; value: number }) => [metric, value]),
      [
        ['hum', 5],
        ['temp', 2],
      ],
    );
    const asTheyWere = [
      [1000, 'hum', 5],
      [1000, 'temp', 1],
      [2000, 'temp', 2],
    ];
    assert.deepEqual(await points(`asRecordedAt=${before}`), asTheyWere);
    assert.deepEqual(await points(`asRecordedAt=${before}&order=desc&metric=temp&limit=1`), [
      [2000, 'temp', 2],
    ]);
    assert.deepEqual(await points(`asRecordedAt=${Date.now() + 1000}`), await points(fresh));
    const page = (await call('GET', `/api/v1/devices/a/telemetry?asRecordedAt=${before}&limit=2`)).json;
    assert.deepEqual(await points(`asRecordedAt=${before}&limit=2&cursor=${page.next}`), asTheyWere.slice(2));
    assert.equal(
      (await call('GET', `/api/v1/devices/a/telemetry?asRecordedAt=${before}&interval=1h`)).status,
      400,
    );
    assert.equal((await call('GET', '/api/v1/audit')).json.differenceCount, 0);
  });

  it('takes nothing back of a device that is not registered, or of a range that is none', async () => {
    const reason = 'wrong';
    const path = (id: string) => `/api/v1/devices/${id}/telemetry/retractions`;
    assert.equal((await post(path('nobody'), { from: 0, to: 1, reason })).status, 404);
    assert.equal((await post(path('a'), { from: 1, to: 1, reason })).status, 400);
    assert.equal((await post(path('a'), { from: 'yesterday', to: 1, reason })).status, 400);
    assert.equal((await post(path('a'), { from: 0, to: 1 })).status, 400);
  });
});
