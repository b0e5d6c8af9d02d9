import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { onEachProfile, type Profile } from '../support/each-profile.ts';
import { eventually } from '../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../support/fieldlog-process.ts';
import { freePort } from '../support/free-port.ts';
import { httpClient } from '../support/http-client.ts';
import { type LiveEvent, liveClient } from '../support/live-client.ts';
import { type Seeded, seeded } from '../support/seeded.ts';

const clients = 100;
const kills = 1;
const devices = ['a', 'b', 'c'];

/** Streams read the log alone: of several roles the API is enough. */
onEachProfile('A hundred live streams, cut at random while their server is killed', (open) => {
  let profile: Profile;
  let folder: string;
  let server: FieldlogProcess;
  let url: string;
  let stopped: AbortController;

  const start = async () => {
    const [role = 'serve'] = profile.roles ?? [];
    const limits = { LIVE_STREAMS: '400', LIVE_STREAMS_PER_KEY: '400' };
    const own = { DATA_DIR: folder, PORT: new URL(url).port };
    server = fieldlog([role], { ...profile.env, ...limits, ...own });
    await server.says(/http:\/\//, 60_000);
  };

  // Before each, for a second try must not find the readings of the first.
  beforeEach(async () => {
    stopped = new AbortController();
    profile = await open();
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-live-kill-'));
    url = `http://127.0.0.1:${await freePort()}`;
    await start();
  });
  afterEach(async () => {
    stopped.abort();
    await server?.end('SIGKILL');
    await rm(folder, { recursive: true });
    await profile?.drop();
  });

  it('receive together what the log has, each of them each reading once', async () => {
    const seed = Date.now() % 100_000;
    const random = seeded(seed);
    const call = httpClient(url);
    for (const deviceId of devices)
      await call('POST', '/api/v1/devices', { json: { deviceId, name: deviceId, type: 'pump' } });

    const accepted: number[] = [];
    let isSending = true;
    const sending = (async () => {
      for (let n = 0; isSending; n += 10) {
        const json = Array.from({ length: 10 }, (_, i) => reading(devices[i % devices.length], n + i));
        const { status } = await call('POST', '/api/v1/telemetry', { json }).catch(() => ({ status: 0 }));
        if (status === 202) accepted.push(...json.map(({ metrics }) => metrics.n));
        await pause(30);
      }
    })();
    const followers = Array.from({ length: clients }, () => received(random));
    for (let killed = 0; killed < kills; killed += 1) {
      await pause(500 + random.next() * 500);
      await server.end('SIGKILL');
      await start();
    }
    await pause(500);
    isSending = false;
    await sending;
    const last = devices.map((deviceId) => reading(deviceId, lastOfDevice));
    await eventually(async () =>
      assert.equal((await call('POST', '/api/v1/telemetry', { json: last })).json?.accepted, devices.length),
    );

    const log = inOrder(await received());
    const inLog = log.map(({ data }) => data.metrics.n).filter((n) => n !== lastOfDevice);
    assert.equal(new Set(inLog).size, inLog.length, 'the log has a reading twice');
    const missing = accepted.filter((n) => !inLog.includes(n));
    assert.deepEqual(missing, [], 'readings that were accepted are not in the log');
    for (const [client, events] of (await Promise.all(followers)).entries())
      assert.deepEqual(
        inOrder(events).map(({ data }) => data.position),
        log.map(({ data }) => data.position),
        `client ${client}, seed ${seed}`,
      );
  });

  /** What a client is told that begins at the start of the log and continues wherever it is cut, up to the last reading. */
  async function received(cuts?: Seeded): Promise<readonly LiveEvent[]> {
    const readings: LiveEvent[] = [];
    for (let from = 'start'; !stopped.signal.aborted; ) {
      const client = await liveClient(url, `from=${from}`).catch(() => undefined);
      if (client?.status === 200) {
        const cutAt = cuts ? Date.now() + 200 + cuts.next() * 1500 : Number.POSITIVE_INFINITY;
        // One that reads the log again is not cut before it has come to something.
        const isCut = () => Date.now() > cutAt && client.events.some(({ event }) => event === 'reading');
        let isOpen = true;
        void client.ended.then(() => {
          isOpen = false;
        });
        while (isOpen && !isComplete([...readings, ...client.events]) && !isCut()) await pause(50);
        await client.cut();
        readings.push(...client.events.filter(({ event }) => event === 'reading'));
        from = client.lastId() ?? from;
        if (isComplete(readings)) return readings;
      } else await client?.cut();
      await pause(20 + (cuts?.next() ?? 0) * 100);
    }
    return readings;
  }
});

const lastOfDevice = -1;
const reading = (deviceId: string | undefined, n: number) => ({ deviceId, metrics: { n } });
const isComplete = (events: readonly LiveEvent[]): boolean =>
  events.filter(({ data }) => data.metrics?.n === lastOfDevice).length >= devices.length;
const inOrder = (events: readonly LiveEvent[]): readonly LiveEvent[] =>
  events.toSorted((a, b) => (a.data.position < b.data.position ? -1 : 1));
