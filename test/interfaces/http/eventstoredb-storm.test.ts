import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { lookInto, onEachEngine, type ReadModelStore } from '../../support/each-engine.ts';
import { EventStoreDbCluster } from '../../support/eventstoredb/cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { httpClient, type Reply } from '../../support/http-client.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const { STORM_SECONDS } = process.env;
const writers = 16;
const everyMs = STORM_SECONDS ? 3_000 : 400;

/** What the storm came to: answers that must not be, one line each, and how much was acknowledged. */
type Toll = { readonly wrong: string[]; acknowledged: number; unavailable: number };

onEachEngine('Commands while an EventStoreDB cluster changes its leader again and again', (open) => {
  let stores: ReadModelStore;
  let cluster: EventStoreDbCluster;
  let served: ServedFolder | undefined;
  failOnUnhandledRejections();

  beforeEach(async () => {
    stores = await open();
    cluster = await EventStoreDbCluster.start({ lagMs: 200 });
  });
  afterEach(async () => {
    await served?.close();
    served = undefined;
    await cluster.stop();
    await stores.drop();
  });

  for (const nodePreference of ['leader', 'follower'])
    it(`are answered once and for all, or 503, and never from the past; nodePreference=${nodePreference}`, async function () {
      const seconds = Number(STORM_SECONDS ?? (stores.env.MYSQL_URL === undefined ? 4 : 2));
      this.timeout((seconds + 60) * 1000);
      served = await servedFolder({
        ...stores.env,
        EVENTSTORE_URL: cluster.urlWith({ nodePreference }),
        LOG_LEVEL: 'silent',
      });
      const toll: Toll = { wrong: [], acknowledged: 0, unavailable: 0 };
      const stopped = new AbortController();
      const changing = changeLeaders(stopped.signal);
      const answers = new Map<string, unknown>();
      const until = Date.now() + seconds * 1000;
      await Promise.all(Array.from({ length: writers }, (_, n) => write(n, until, toll, answers)));
      stopped.abort();
      await changing;

      const call = httpClient(served?.url ?? '');
      for (const [deviceId, name] of answers) {
        const { status, json } = await call('GET', `/api/v1/devices/${deviceId}`);
        if (status !== 200 || json.name !== name) toll.wrong.push(`lost: ${deviceId} ${status} ${json.name}`);
      }
      assert.deepEqual(toll.wrong, []);
      assert.ok(toll.acknowledged >= writers, `${toll.acknowledged} acknowledged`);
      await isProjectedOnce(served, answers.size);
      if (STORM_SECONDS) console.log(toll);
    });

  /** Each device has its two events in the read models, each of them once. */
  async function isProjectedOnce({ folder }: ServedFolder, devices: number): Promise<void> {
    const tables = await lookInto(stores, folder);
    const count = async (from: string) =>
      Number((await tables.all<{ n: unknown }>(`SELECT COUNT(*) AS n FROM ${from}`))[0]?.n);
    try {
      await eventually(
        async () => {
          assert.equal(await count("devices WHERE name = 'second'"), devices);
          assert.equal(await count('device_history'), 2 * devices);
        },
        { within: 30_000, every: 100 },
      );
      assert.equal(await count('devices'), devices);
      assert.equal(await count('dead_letters'), 0);
    } finally {
      await tables.close();
    }
  }

  /** By an election, by a kill, and without any pause between. */
  async function changeLeaders(signal: AbortSignal): Promise<void> {
    for (let n = 0; !signal.aborted; n += 1) {
      await delay(everyMs, undefined, { signal }).catch(() => undefined);
      const old = cluster.leader;
      const kill = n % 3 === 1;
      await cluster.changeLeader({ electionMs: n % 3 === 0 ? 0 : 100, kill });
      if (kill) await old?.listen();
    }
  }

  async function write(n: number, until: number, toll: Toll, answers: Map<string, unknown>): Promise<void> {
    const call = httpClient(served?.url ?? '');
    for (let i = 0; Date.now() < until; i += 1) {
      const deviceId = `storm-${n}-${i}`;
      const register = { deviceId, name: 'first', type: 'test' };
      await command('POST', '/api/v1/devices', register, `r-${deviceId}`);
      await strongRead(deviceId, 0, 'first');
      await command('PATCH', `/api/v1/devices/${deviceId}`, { name: 'second' }, `c-${deviceId}`);
      await strongRead(deviceId, 1, 'second');
      answers.set(deviceId, 'second');
    }

    /** Sends a command until it is answered, and then once more: the answer must be the same. */
    async function command(method: string, path: string, json: object, key: string): Promise<void> {
      const first = await answered(method, path, { json, headers: { 'Idempotency-Key': key } });
      toll.acknowledged += 1;
      const again = await answered(method, path, { json, headers: { 'Idempotency-Key': key } });
      if (first.status >= 300) toll.wrong.push(`${method} ${path}: ${first.status} ${first.text}`);
      if (JSON.stringify(first.json) !== JSON.stringify(again.json))
        toll.wrong.push(`answered differently: ${first.text} then ${again.text}`);
    }

    async function strongRead(deviceId: string, revision: number, name: string): Promise<void> {
      const { status, json, text } = await answered('GET', `/api/v1/devices/${deviceId}`);
      if (status !== 200 || json.revision !== revision || json.name !== name)
        toll.wrong.push(`stale read: ${status} ${text}`);
    }

    async function answered(...request: Parameters<typeof call>): Promise<Reply> {
      for (;;) {
        const reply = await call(...request);
        if (reply.status !== 503) return reply;
        toll.unavailable += 1;
        assert.ok(Date.now() < until + 30_000, `still 503 half a minute after the storm: ${reply.text}`);
        if (reply.headers.get('retry-after') === null) toll.wrong.push('503 without Retry-After');
        await delay(20);
      }
    }
  }
});
