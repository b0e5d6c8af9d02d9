import assert from 'node:assert/strict';
import { onEachProfile, type Profile } from '../../support/each-profile.ts';
import { eventually } from '../../support/eventually.ts';
import { type HttpClient, httpClient, problemOf } from '../../support/http-client.ts';
import { type LiveClient, type LiveEvent, liveClient } from '../../support/live-client.ts';
import { seeded } from '../../support/seeded.ts';
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
  const post = async (path: string, json: unknown) => {
    const accepted = await call('POST', path, { json });
    assert.equal(accepted.status, 202, accepted.text);
    for (const position of accepted.json.positions) sent.set(position.split(':')[1], position);
  };
  const send = async (deviceId: string, count = 1, metric = 'n') => {
    const from = n;
    n += count;
    const json = Array.from({ length: count }, (_, i) => ({ deviceId, metrics: { [metric]: from + i } }));
    await post('/api/v1/telemetry', json);
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
      const sent = client.events.find(({ event }) => event === 'device');
      assert.deepEqual(
        [sent?.data.deviceId, sent?.data.type, sent?.data.changes],
        ['a', 'DeviceSuspended', { reason: 'repair' }],
      );
    });
    await call('POST', '/api/v1/devices/a/reinstate', { json: {} });
  });

  it('tells what becomes of alarms, and continues behind what it sent of them', async () => {
    await call('POST', '/api/v1/devices', { json: { deviceId: 'c', name: 'c', type: 'boiler' } });
    const begun = Date.now() - 3_600_000;
    let seconds = 0;
    const sendTemperatures = async (values: readonly number[]) => {
      const json = values.map((t) => {
        seconds += 1;
        return { deviceId: 'c', timestamp: begun + seconds * 1000, metrics: { t } };
      });
      await post('/api/v1/telemetry', json);
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

  it('tells of each bucket, in the end, what a query answers, whatever comes and however often it is cut', async () => {
    const seed = Date.now() % 100_000;
    const random = seeded(seed);
    const upTo = (end: number) => Math.floor(random.next() * end);
    const begun = Math.floor(Date.now() / 60_000) * 60_000 - 7_200_000;
    const timeOf = () => begun + upTo(240) * 1000;
    const readings = (count: number) =>
      Array.from({ length: count }, () => ({
        deviceId: upTo(2) ? 'd' : 'e',
        timestamp: timeOf(),
        metrics: Object.fromEntries(['x', 'y'].slice(upTo(2)).map((name) => [name, upTo(50) / 10])),
      }));
    const change = async () => {
      if (upTo(6)) return post('/api/v1/telemetry', readings(1 + upTo(40)));
      const [from, to] = [timeOf(), timeOf()].sort(ascending) as [number, number];
      const metric = upTo(2) ? { metric: 'x' } : {};
      const json = { from, to: to + 1, ...metric, reason: 'seen twice' };
      await post(`/api/v1/devices/${upTo(2) ? 'd' : 'e'}/telemetry/retractions`, json);
    };
    for (const deviceId of ['d', 'e'])
      await call('POST', '/api/v1/devices', { json: { deviceId, name: deviceId, type: 'meter' } });
    await post('/api/v1/telemetry', readings(50));

    const query = `events=buckets&interval=1m&deviceId=d,e&aggregate=avg,min,max,sum,count,first,last&from=start`;
    const whole = await follow(query);
    const parts: LiveEvent[] = [];
    for (let cuts = 0, id = 'start'; cuts < 5; cuts += 1) {
      const part = await follow(query.replace('start', id));
      for (let changes = 0; changes < 8; changes += 1) await change();
      await eventually(() => assert.ok(part.events.length > upTo(10)));
      await part.cut();
      open.pop();
      parts.push(...part.events);
      id = part.lastId() ?? id;
    }
    const rest = await follow(query.replace('start', parts.at(-1)?.id ?? ''));
    await change();
    await readModelPosition();
    const answered: Record<string, object> = {};
    for (const deviceId of ['d', 'e']) {
      const range = `interval=1m&aggregate=avg,min,max,sum,count,first,last`;
      const { json } = await call('GET', `/api/v1/devices/${deviceId}/telemetry?${range}`);
      for (const { start, metric, ...bucket } of json.buckets)
        answered[`${deviceId} ${start} ${metric}`] = { ...bucket, final: true };
    }
    assert.ok(Object.keys(answered).length > 4);
    await eventually(() => assert.deepEqual(bucketsOf(whole.events), answered, `whole, seed ${seed}`));
    await eventually(() =>
      assert.deepEqual(bucketsOf([...parts, ...rest.events]), answered, `cut, seed ${seed}`),
    );
  });

  it('tells of buckets by their own parameters, and not together with readings', async () => {
    for (const query of [
      'events=buckets,readings',
      'interval=1m',
      'aggregate=avg',
      'events=buckets&interval=5m',
    ])
      assert.deepEqual(
        problemOf(await call('GET', `/api/v1/live?${query}`)),
        [400, 'invalid-request'],
        query,
      );
    const client = await follow('events=buckets,devices&q=a&metric=o&interval=1h&aggregate=count');
    await send('b', 1, 'o');
    await send('a', 1, 'p');
    await send('a', 3, 'o');
    const sent = await eventually(() => {
      const [sent] = client.events.filter(({ event, data }) => event === 'bucket' && data.count === 3);
      assert.ok(sent);
      return sent.data;
    });
    const { start, end, position, ...rest } = sent;
    assert.deepEqual(rest, { deviceId: 'a', metric: 'o', count: 3, final: false });
    assert.equal(Date.parse(end) - Date.parse(start), 3_600_000);
    assert.match(position, /^telemetry:\d+:\S+$/);
    assert.ok(client.events.every(({ event, data }) => event !== 'bucket' || data.deviceId === 'a'));
  });
});

type ToldBucket = Readonly<Record<'deviceId' | 'start' | 'metric' | 'position', string>>;

/** What a client that is sent buckets has in the end, by device, start and metric. */
function bucketsOf(events: readonly LiveEvent[]): Readonly<Record<string, object>> {
  const found = new Map<string, ToldBucket>();
  for (const { event, data } of events) {
    if (event !== 'bucket') continue;
    if (data.count > 0) found.set(`${data.deviceId} ${data.start} ${data.metric}`, data);
    else
      for (const [key, { deviceId, start, metric }] of found)
        if (deviceId === data.deviceId && start >= data.start && start < data.end)
          if (data.metric === null || data.metric === metric) found.delete(key);
  }
  return Object.fromEntries(
    [...found].map(([key, { deviceId: _d, start: _s, metric: _m, position: _p, ...bucket }]) => [
      key,
      bucket,
    ]),
  );
}
