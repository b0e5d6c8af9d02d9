import assert from 'node:assert/strict';
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { SqliteSource } from '../../../infrastructure/sqlite/log-source.ts';
import { serve } from '../../../interfaces/composition/roles.ts';
import { eventually } from '../../support/eventually.ts';
import { type HttpClient, httpClient } from '../../support/http-client.ts';
import { quiet, type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

const path = `/api/v1/devices/a/telemetry?asRecordedAt=${Date.UTC(2100, 0)}&limit=1000000`;
const atOnce = 2;

/** More than the connections between client and server take in while nobody reads. */
const bigReading = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`m${i}`, 'x'.repeat(512)]));
const readings = 600;

describe('Queries of what was recorded at a time', function () {
  this.timeout(60_000);
  let fixture: ReplayFixture;

  before(async () => {
    fixture = await replayFixture();
    await fixture.register('a');
    for (let n = 0; n < readings; n += 100)
      await fixture.measure(
        'a',
        Array.from({ length: 100 }, (_, i) => [n + i, bigReading] as const),
      );
  });
  after(() => fixture.close());

  async function serving(env: Readonly<Record<string, string>>, work: (server: Server) => Promise<void>) {
    const served = await serve(
      configFrom({ DATA_DIR: fixture.folder, PORT: '0', LOG_LEVEL: 'silent', ...env }),
      quiet,
    );
    try {
      await work({ url: served.url, call: httpClient(served.url) });
    } finally {
      await served.close();
    }
  }

  it('leave the thread of the API to those who send, however many and slow they are', async () => {
    let readHere = 0;
    const { run } = SqliteSource.prototype;
    SqliteSource.prototype.run = function (...args) {
      if (this.name === 'telemetry') readHere += 1;
      return run.apply(this, args);
    };
    try {
      await serving({}, async ({ url, call }) => {
        const slow = await Promise.all(Array.from({ length: atOnce }, () => asked(url)));
        for (const { answer } of slow) assert.equal(answer.statusCode, 200);

        for (let n = 0; n < 20; n += 1) {
          const json = [{ deviceId: 'a', timestamp: -1 - n, metrics: { n } }];
          assert.equal((await call('POST', '/api/v1/telemetry', { json })).status, 202);
        }
        const another = await call('GET', path);
        assert.equal(another.status, 503);
        assert.match(another.json.type, /history-not-read$/);
        assert.match(another.json.detail, /2 queries with asRecordedAt are running/);
        assert.equal(another.headers.get('Retry-After'), '5');
        assert.ok(slow.every(({ answer }) => !answer.complete));

        const [gone, patient] = slow;
        gone?.request.destroy();
        await eventually(async () => assert.equal((await call('GET', `${path}&order=desc`)).status, 200));
        const { points } = JSON.parse(await textOf(patient?.answer));
        assert.equal(points.length, readings * 64);
      });
    } finally {
      SqliteSource.prototype.run = run;
    }
    assert.equal(readHere, 0);
  });

  it('that take longer than they may are ended, and say so', () =>
    serving({ AS_RECORDED_MS: '1' }, async ({ call }) => {
      const { status, json } = await call('GET', path);
      assert.equal(status, 503);
      assert.match(json.detail, /within 1 ms; AS_RECORDED_MS sets the limit/);
    }));

  it('do not keep a server from ending', async () => {
    let left: Promise<unknown> | undefined;
    await serving({ SHUTDOWN_MS: '0' }, async ({ url }) => {
      const { answer } = await asked(url);
      left = textOf(answer).catch((error) => error);
    });
    assert.ok((await left) instanceof Error);
  });
});

type Server = { readonly url: string; readonly call: HttpClient };

/** The answer once it has begun; nothing of it is read. */
function asked(url: string): Promise<{ readonly request: ClientRequest; readonly answer: IncomingMessage }> {
  return new Promise((resolve, reject) => {
    const request = get(`${url}${path}`, { agent: false }, (answer) => resolve({ request, answer }));
    request.on('error', reject);
  });
}

async function textOf(answer: IncomingMessage | undefined): Promise<string> {
  let text = '';
  for await (const chunk of answer?.setEncoding('utf8') ?? []) text += chunk;
  return text;
}
