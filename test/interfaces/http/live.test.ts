import assert from 'node:assert/strict';
import { onEachProfile, type Profile } from '../../support/each-profile.ts';
import { eventually } from '../../support/eventually.ts';
import { type HttpClient, httpClient, problemOf } from '../../support/http-client.ts';
import { type LiveClient, type LiveEvent, liveClient } from '../../support/live-client.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

const readingsOf = ({ events }: Pick<LiveClient, 'events'>): LiveEvent[] =>
  events.filter(({ event }) => event === 'reading');
const valuesOf = (client: Pick<LiveClient, 'events'>): number[] =>
  readingsOf(client).map(({ data }) => data.metrics.n);
const ascending = (a: number, b: number): number => a - b;
const upTo = (end: number): number[] => Array.from({ length: end }, (_, i) => i);

onEachProfile('Live streams', (openProfile) => {
  let profile: Profile;
  let served: ServedFolder;
  let call: HttpClient;
  const open: LiveClient[] = [];

  before(async () => {
    profile = await openProfile();
    const limits = { LIVE_STREAMS: '8', LIVE_STREAMS_PER_KEY: '6' };
    served = await servedFolder({ ...profile.env, ...limits, DETECTION: 'all' });
    call = httpClient(served.url);
    for (const [deviceId, type] of [
      ['a', 'pump'],
      ['b', 'fan'],
    ])
      await call('POST', '/api/v1/devices', { json: { deviceId, name: deviceId, type } });
  });
  afterEach(async () => {
    for (const client of open.splice(0)) await client.cut();
    await eventually(async () => {
      assert.match((await call('GET', '/metrics')).text, /fieldlog_live_streams 0\n/);
    });
  });
  after(async () => {
    await served?.close();
    await profile?.drop();
  });

  let n = 0;
  /** The position of the last reading sent, by partition. */
  const sent = new Map<string, string>();
  const send = async (deviceId: string, count = 1, metric = 'n') => {
    const from = n;
    n += count;
    const json = Array.from({ length: count }, (_, i) => ({ deviceId, metrics: { [metric]: from + i } }));
    const accepted = await call('POST', '/api/v1/telemetry', { json });
    assert.equal(accepted.status, 202);
    for (const position of accepted.json.positions) sent.set(position.split(':')[1], position);
    return json.map((_, i) => from + i);
  };
  /** A stream that begins without a position begins where the read model is, which is here where the log ends. */
  const readModelPosition = async () => {
    const waitFor = [...sent.values()].map((position) => `&waitFor=${position}`).join('');
    const found = await call('GET', `/api/v1/telemetry/latest?timeout=30000${waitFor}`);
    assert.equal(found.status, 200, found.text);
    return found.headers.get('Fieldlog-Position') ?? '';
  };
  const follow = async (query = '', headers = {}) => {
    await readModelPosition();
    const client = await liveClient(served.url, query, headers);
    open.push(client);
    return client;
  };
  const shows = (client: LiveClient, values: readonly number[]) =>
    eventually(() => assert.deepEqual(valuesOf(client), values));

  it('begins with the newest values and tells readings as they come', async () => {
    const before = await send('a');
    await eventually(async () =>
      assert.equal((await call('GET', '/api/v1/devices/a/telemetry/latest')).json.points[0].value, before[0]),
    );
    const client = await follow();
    await eventually(() => assert.ok(client.events.length >= 1));
    assert.equal(client.events[0]?.event, 'snapshot');
    assert.equal(client.events[0]?.data.devices[0].points[0].value, before[0]);
    await shows(client, await send('a', 3));
    await eventually(() => assert.ok(client.events.some(({ event }) => event === 'lag')));
    assert.equal(client.headers.get('Cache-Control'), 'no-store');
  });

  it('continues where it was cut, each reading once, from memory and from the log', async () => {
    const client = await follow('deviceId=a');
    const first = await send('a', 5);
    await shows(client, first);
    await client.cut();
    const id = client.events.filter(({ event }) => event === 'reading')[2]?.id ?? '';
    const missed = await send('a', 1000);
    await send('b');
    const again = await follow('deviceId=a', { 'Last-Event-ID': id });
    await shows(again, [...first.slice(3), ...missed]);
    assert.ok(!again.events.some(({ event }) => event === 'snapshot'));
    const all = await follow('deviceId=a,b&from=start');
    await eventually(() => assert.deepEqual(valuesOf(all).sort(ascending), upTo(n)));
  });

  it('tells the devices and metrics that were asked for', async () => {
    const pumps = await follow('type=pump&metric=n');
    await eventually(() => assert.ok(pumps.events.length >= 3));
    await send('b');
    await send('a', 1, 'm');
    await shows(pumps, await send('a', 2));
    const changed = await call('PATCH', '/api/v1/devices/b', { json: { type: 'pump' } });
    assert.equal(changed.status, 200);
    await eventually(async () => {
      const [value] = await send('b');
      await eventually(() => assert.ok(valuesOf(pumps).includes(value as number)), { within: 200 });
    });
  });

  it('tells what changes of devices', async () => {
    const client = await follow('events=devices');
    await call('POST', '/api/v1/devices/a/suspend', { json: { reason: 'repair' } });
    await eventually(() => {
      const told = client.events.find(({ event }) => event === 'device');
      assert.deepEqual(
        [told?.data.deviceId, told?.data.type, told?.data.changes],
        ['a', 'DeviceSuspended', { reason: 'repair' }],
      );
    });
    await call('POST', '/api/v1/devices/a/reinstate', { json: {} });
  });

  it('tells what becomes of alarms, and continues behind what it told of them', async () => {
    await call('POST', '/api/v1/devices', { json: { deviceId: 'c', name: 'c', type: 'boiler' } });
    const begun = Date.now() - 3_600_000;
    let seconds = 0;
    const sendTemperatures = async (values: readonly number[]) => {
      const json = values.map((t) => {
        seconds += 1;
        return { deviceId: 'c', timestamp: begun + seconds * 1000, metrics: { t } };
      });
      const accepted = await call('POST', '/api/v1/telemetry', { json });
      assert.equal(accepted.status, 202);
      for (const position of accepted.json.positions) sent.set(position.split(':')[1], position);
    };
    const usual = (count: number) => Array.from({ length: count }, (_, i) => 20 + (i % 5) / 10);
    const alarmsOf = ({ events }: LiveClient) => events.filter(({ event }) => event === 'alarm');
    const typesOf = (client: LiveClient) => alarmsOf(client).map(({ data }) => data.type);

    const client = await follow('events=alarms&deviceId=c');
    await eventually(() => assert.ok(client.events.length > 0));
    await sendTemperatures([...usual(60), 500]);
    await eventually(() => assert.deepEqual(typesOf(client), ['AlarmRaised']), { within: 30_000 });
    const { id, data } = alarmsOf(client)[0] as LiveEvent;
    const { deviceId, metric, kind, actor, changes, alarmId } = data;
    assert.deepEqual(
      { deviceId, metric, kind, actor, value: changes.value },
      { deviceId: 'c', metric: 't', kind: 'novel', actor: 'detection', value: 500 },
    );
    const json = { note: 'on my way' };
    assert.equal((await call('POST', `/api/v1/alarms/${alarmId}/acknowledge`, { json })).status, 200);
    await eventually(() => assert.deepEqual(alarmsOf(client)[1]?.data.changes, json));
    await client.cut();
    await sendTemperatures(usual(60));
    const rest = ['AlarmAcknowledged', 'AlarmCleared'];
    const again = await follow('events=alarms&deviceId=c', { 'Last-Event-ID': id });
    await eventually(() => assert.deepEqual(typesOf(again), rest), { within: 30_000 });
    const all = await follow('events=alarms,devices&type=boiler&metric=t&from=start');
    await eventually(() => assert.deepEqual(typesOf(all), ['AlarmRaised', ...rest]));
    const other = await follow('events=alarms,devices&type=boiler&metric=other&from=start');
    await eventually(() => assert.ok(other.events.some(({ event }) => event === 'device')));
    assert.deepEqual(typesOf(other), []);
  });

  it('speaks the event stream of browsers', async () => {
    const stop = new AbortController();
    const answer = await fetch(`${served.url}/api/v1/live?deviceId=b&from=start`, {
      signal: stop.signal,
    });
    assert.match(answer.headers.get('Content-Type') ?? '', /^text\/event-stream/);
    let text = '';
    const reader = answer.body?.getReader();
    while (!text.includes('event: reading')) text += new TextDecoder().decode((await reader?.read())?.value);
    stop.abort();
    assert.match(text, /^id: start\nevent: \w+\ndata: \{.*\}\n\n/);
    assert.match(text, /\n\nid: telemetry:\d+:\S+\nevent: reading\ndata: \{.*\}\n\n/);
  });

  it('refuses a position that the log has not, and what is no position', async () => {
    assert.deepEqual(problemOf(await call('GET', '/api/v1/live?from=telemetry:0:999999')), [
      410,
      'subscription-expired',
    ]);
    assert.deepEqual(problemOf(await call('GET', '/api/v1/live?from=nonsense')), [400, 'invalid-request']);
    assert.deepEqual(problemOf(await call('GET', '/api/v1/live?events=alarm')), [400, 'invalid-request']);
    assert.deepEqual(problemOf(await call('GET', '/api/v1/live?from=devices:begin')), [
      400,
      'invalid-request',
    ]);
  });

  it('has a bound for each key and for the process', async () => {
    for (let i = 0; i < 6; i += 1) await follow('deviceId=a');
    await eventually(() => assert.ok(open.every(({ events }) => events.length > 0)));
    assert.deepEqual(problemOf(await call('GET', '/api/v1/live')), [429, 'too-many-streams']);
  });

  it('loses nothing and tells nothing twice, however often clients are cut', async () => {
    const expected: number[] = [];
    let sending = true;
    const start = await readModelPosition();
    const first = n;
    const source = (async () => {
      for (let i = 0; i < 60; i += 1) expected.push(...(await send(i % 2 ? 'a' : 'b', 20)));
      sending = false;
    })();
    const received = await Promise.all(
      Array.from({ length: 6 }, async (_, c) => {
        const readings: LiveEvent[] = [];
        let from = start;
        while (sending || readings.length < expected.length) {
          const client = await liveClient(served.url, `from=${from}`);
          // The server has yet to notice that streams before it were cut.
          if (client.status === 429) {
            await client.cut();
            continue;
          }
          const atLeast = 1 + ((c * 7 + readings.length) % 50);
          await eventually(
            () => {
              const { length } = readingsOf(client);
              assert.ok(length >= atLeast || (!sending && readings.length + length >= expected.length));
            },
            { within: 20_000 },
          );
          await client.cut();
          readings.push(...readingsOf(client));
          from = client.lastId() ?? from;
        }
        return readings;
      }),
    );
    await source;
    assert.equal(expected[0], first);
    for (const readings of received) {
      assert.deepEqual(valuesOf({ events: readings }).sort(ascending), expected);
      for (const deviceId of ['a', 'b']) {
        const values = valuesOf({ events: readings.filter(({ data }) => data.deviceId === deviceId) });
        assert.deepEqual(values, [...values].sort(ascending), 'readings of a device are out of order');
      }
    }
  });
});
