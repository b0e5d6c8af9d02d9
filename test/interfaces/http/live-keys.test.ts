import assert from 'node:assert/strict';
import type { DeviceBounds } from '../../../application/device-bounds.ts';
import type { Scope } from '../../../application/ports/api-keys.ts';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { openApplication } from '../../../interfaces/composition/application.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { eventually } from '../../support/eventually.ts';
import { httpClient } from '../../support/http-client.ts';
import { type LiveClient, liveClient } from '../../support/live-client.ts';
import { servedFolder } from '../../support/served.ts';

const valuesOf = ({ events }: Pick<LiveClient, 'events'>): number[] =>
  events.filter(({ event }) => event === 'reading').map(({ data }) => data.metrics.n);

describe('Live streams with keys', function () {
  this.timeout(60_000);

  it('need the scope of what they send, show no more than the key may see, and end when it is revoked', async () => {
    const served = await servedFolder();
    const application = await openApplication(
      configFrom({ DATA_DIR: served.folder }),
      openLog('silent', 'test'),
    );
    try {
      const keys = await application.keys();
      const made = async (name: string, scopes: readonly Scope[], only: DeviceBounds | null = null) =>
        `Bearer ${(await keys.create({ name, scopes, only, expiresAt: null }))?.secret}`;
      const reader = await made('reader', ['telemetry:read']);
      const devices = await made('devices', ['devices:read']);
      const get = (Authorization: string, query: string) =>
        fetch(`${served.url}/api/v1/live?${query}`, { method: 'HEAD', headers: { Authorization } });
      assert.equal((await get(reader, 'events=readings')).status, 200);
      await eventually(async () => assert.equal((await get(reader, 'events=readings,devices')).status, 403));
      assert.equal((await get(devices, 'events=devices')).status, 200);
      assert.equal((await get(devices, '')).status, 403);
      const client = await liveClient(served.url, '', { Authorization: reader });
      const other = await liveClient(served.url, 'events=devices', { Authorization: devices });
      assert.equal(client.status, 200);
      const writer = await made('writer', ['devices:write', 'telemetry:write']);
      const pumps = await made('pumps', ['telemetry:read'], { type: 'pump', labels: { site: 'north' } });
      const call = httpClient(served.url);
      const send = async (path: string, json: unknown) => {
        const { status, text } = await call('POST', path, { json, headers: { Authorization: writer } });
        assert.ok(status < 300, text);
      };
      for (const [deviceId, site] of [
        ['in', 'north'],
        ['out', 'south'],
      ])
        await send('/api/v1/devices', { deviceId, name: deviceId, type: 'pump', labels: { site } });
      const bounded = await liveClient(served.url, 'deviceId=in,out', { Authorization: pumps });
      for (const deviceId of ['out', 'in']) await send('/api/v1/telemetry', { deviceId, metrics: { n: 1 } });
      await eventually(() => assert.deepEqual(valuesOf(bounded), [1]));
      const replayed = await liveClient(served.url, 'from=start', { Authorization: pumps });
      await eventually(() => assert.deepEqual(valuesOf(replayed), [1]));
      for (const { events } of [bounded, replayed])
        assert.ok(!JSON.stringify(events).includes('"out"'), 'a key is sent a device that it may not see');
      await Promise.all([bounded.cut(), replayed.cut()]);
      await keys.revoke('reader');
      const started = Date.now();
      await client.ended;
      assert.ok(Date.now() - started < 5000, 'the stream of a revoked key goes on');
      await other.cut();
    } finally {
      await served.close();
      await application.close();
    }
  });

  it('show a key for a part of the fleet the alarms and changes of that part alone', async () => {
    const served = await servedFolder({ DETECTION: 'all' });
    const application = await openApplication(
      configFrom({ DATA_DIR: served.folder }),
      openLog('silent', 'test'),
    );
    try {
      const call = httpClient(served.url);
      const send = async (path: string, json: unknown, headers = {}) => {
        const { status, text } = await call('POST', path, { json, headers });
        assert.ok(status < 300, text);
      };
      const devices = [
        ['in', 'pump', 'north'],
        ['out', 'pump', 'south'],
        ['fan', 'fan', 'north'],
      ] as const;
      for (const [deviceId, type, site] of devices)
        await send('/api/v1/devices', { deviceId, name: deviceId, type, labels: { site } });
      const keys = await application.keys();
      const made = async (name: string, scopes: readonly Scope[], only: DeviceBounds | null) => ({
        Authorization: `Bearer ${(await keys.create({ name, scopes, only, expiresAt: null }))?.secret}`,
      });
      const only = { type: 'pump', labels: { site: 'north' } };
      const bound = await made('north', ['devices:read', 'telemetry:read'], only);
      const all = await made('all', ['devices:read', 'devices:write', 'telemetry:write'], null);
      await eventually(async () => assert.equal((await call('GET', '/api/v1/alarms')).status, 401));
      const clientOf = async (query: string, headers: Record<string, string>) => {
        const client = await liveClient(served.url, `events=alarms,devices&${query}`, headers);
        assert.equal(client.status, 200);
        await eventually(() => assert.ok(client.events.length > 0));
        return client;
      };
      const everyone = await clientOf('', all);
      const north = await clientOf('', bound);
      const named = await clientOf('deviceId=in,out,fan', bound);
      const begun = Date.now() - 3_600_000;
      const json = Array.from({ length: 61 }, (_, i) => ({
        timestamp: begun + i * 1000,
        metrics: { t: i < 60 ? 20 + (i % 5) / 10 : 500 },
      })).flatMap((reading) => devices.map(([deviceId]) => ({ deviceId, ...reading })));
      const raised = ({ events }: LiveClient) =>
        events.filter(({ event }) => event === 'alarm').map(({ data }) => data.deviceId);
      await send('/api/v1/telemetry', json, all);
      await eventually(() => assert.deepEqual(raised(everyone).sort(), ['fan', 'in', 'out']), {
        within: 30_000,
      });
      for (const [deviceId] of devices)
        await send(`/api/v1/devices/${deviceId}/suspend`, { reason: 'x' }, all);
      const replayed = await clientOf('from=start', bound);
      for (const client of [north, named, replayed]) {
        await eventually(() =>
          assert.ok(
            client.events.some(({ data }) => data.type === 'DeviceSuspended' && data.deviceId === 'in'),
          ),
        );
        assert.deepEqual(raised(client), ['in']);
        assert.doesNotMatch(JSON.stringify(client.events), /"(out|fan)"/);
      }
      for (const client of [everyone, north, named, replayed]) await client.cut();
    } finally {
      await served.close();
      await application.close();
    }
  });

  it('end at once when the server stops, each with a time of its own to come back', async () => {
    const served = await servedFolder();
    const streams = await Promise.all(Array.from({ length: 10 }, () => fetch(`${served.url}/api/v1/live`)));
    const texts = streams.map((stream) => stream.text());
    const stopping = Date.now();
    await served.close();
    const times = (await Promise.all(texts)).map((text) => /retry: ([1-5]\d{3})\n\n$/.exec(text)?.[1]);
    assert.ok(!times.includes(undefined), 'a stream ended without a time to come back');
    const [first, last] = [Math.min, Math.max].map((of) => of(...times.map(Number)));
    assert.ok(Number(last) - Number(first) > 500, `clients all come back at once: ${times}`);
    assert.ok(Date.now() - stopping < 6000, 'an open stream holds up the shutdown');
  });
});
