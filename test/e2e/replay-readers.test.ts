import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { onBothEngines, type ReadModelStore } from '../support/both-engines.ts';
import { distributedStores } from '../support/distributed-stores.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';
import { needs } from '../support/servers.ts';

const readings = 5000;
const devices = ['a', 'b', 'c'];

/** What a reader of each projection asks for, which no rebuild may change. */
const questions = {
  devices: ['/api/v1/devices?limit=10'],
  device_history: ['/api/v1/devices/a/history'],
  telemetry: [
    `/api/v1/devices/a/telemetry?to=${readings}&limit=10000`,
    `/api/v1/devices/a/telemetry?to=${readings}&interval=1h`,
    '/api/v1/devices/a/telemetry/latest',
  ],
} as const;

type Stores = ReadModelStore & { readonly roles?: readonly [string, ...string[]] };

onBothEngines('Readers, while a projection is rebuilt', readers);

needs('KAFKA_BROKERS', 'Readers, while a projection is rebuilt with several workers', (brokers) =>
  needs('MYSQL_URL', 'of the distributed profile', function (url) {
    this.timeout(240_000);
    readers(async () => {
      const { env, close } = await distributedStores(brokers, url);
      const workers = ['device-projector', 'device-projector', 'telemetry-projector', 'telemetry-projector'];
      return { env, roles: ['api', ...workers], drop: close };
    });
  }),
);

function readers(open: () => Promise<Stores>): void {
  let server: RunningServer;
  let drop: () => Promise<void>;

  before(async () => {
    const opened = await open();
    drop = opened.drop;
    server = await runningServer(opened.env, opened.roles);
    await server.register(...devices);
    for (let n = 0; n < readings; n += 1000)
      await server.measure(
        'a',
        Array.from({ length: 1000 }, (_, i) => n + i),
      );
    await server.settled();
  });
  after(async () => {
    await server.close();
    await drop();
  });

  for (const [projection, addresses] of Object.entries(questions))
    it(`of ${projection} see no error, nothing empty and no mixture`, async function () {
      const stop = new AbortController();
      const first = await Promise.all(addresses.map((address) => server.call('GET', address)));
      const slowest = { milliseconds: 0, answers: 0 };
      const work = [read(), ingest()];
      try {
        const { code, out, err } = await server.command(
          'projections',
          'rebuild',
          projection,
          '--throttle',
          '5000',
          '--json',
        );
        assert.equal(code, 0, err);
        const { switched, comparison } = JSON.parse(out);
        assert.ok(switched && comparison.equal && comparison.samePosition, out);
      } finally {
        stop.abort();
        await Promise.all(work);
      }
      assert.ok(slowest.answers > 50);
      if (this.test)
        this.test.title += ` (the slowest of ${slowest.answers} answers: ${slowest.milliseconds.toFixed(0)} ms)`;

      async function read(): Promise<void> {
        while (!stop.signal.aborted) {
          for (const [i, address] of addresses.entries()) {
            const asked = performance.now();
            const { status, text } = await server.call('GET', address);
            slowest.milliseconds = Math.max(slowest.milliseconds, performance.now() - asked);
            slowest.answers += 1;
            assert.equal(status, 200, text);
            assert.ok(text === first[i]?.text, `${address} answered ${text.slice(0, 500)}`);
          }
          await pause(10);
        }
      }

      async function ingest(): Promise<void> {
        for (let n = 0; !stop.signal.aborted; n += 1) {
          await server.measure('b', [n]);
          await pause(2);
        }
      }
    });
}
