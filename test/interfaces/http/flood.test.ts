import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { eventually } from '../../support/eventually.ts';
import { type FieldlogProcess, fieldlog } from '../../support/fieldlog-process.ts';
import { httpClient } from '../../support/http-client.ts';

/** The heap that Node takes in a container of 512 MiB, which the manifests give to the API. */
const heap = '--max-old-space-size=256';
const gzip = { 'Content-Encoding': 'gzip' };
const packed = (text: string) => Uint8Array.from(gzipSync(text));

const repeated = (item: string, bytes: number) => `[${`${item},`.repeat(bytes / (item.length + 1))}${item}]`;
const metrics = (name: (n: number) => string) =>
  Object.fromEntries(Array.from({ length: 64 }, (_, n) => [name(n), n + 0.5]));
const readings = (name: (n: number) => string) =>
  Array.from({ length: 5_000 }, (_, n) => ({ deviceId: 'd', timestamp: 1e12 + n, metrics: metrics(name) }));

/** A few kilobytes or a few more that are 10 MB once inflated, with what is answered. */
const floods: Readonly<Record<string, readonly [body: Uint8Array<ArrayBuffer>, status: number]>> = {
  'items without anything': [packed(repeated('{}', 10_000_000)), 413],
  'keys of one item': [packed(`[{${Array.from({ length: 800_000 }, (_, n) => `"${n}":1`).join(',')}}]`), 413],
  'as many readings as are taken': [packed(JSON.stringify(readings((n) => `m${n}`))), 202],
  'as many readings with bad names': [packed(JSON.stringify(readings((n) => `bad name ${n}`))), 400],
};

describe('Small requests that hold much, under the memory of the manifests', function () {
  this.timeout(120_000);
  let folder: string;
  let server: FieldlogProcess;
  let url: string;
  let call: ReturnType<typeof httpClient>;
  let headers: Record<string, string>;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-flood-'));
    server = fieldlog(['serve'], { DATA_DIR: folder, PORT: '0', NODE_OPTIONS: heap });
    [, url = ''] = await server.says(/Fieldlog: (http:\S+)/);
    call = httpClient(url);
    const device = { deviceId: 'd', name: 'd', type: 'test', issueToken: true };
    const { json } = await call('POST', '/api/v1/devices', { json: device });
    headers = { ...gzip, 'Content-Type': 'application/json', Authorization: `Bearer ${json.token}` };
  });
  after(async () => {
    await server.end('SIGTERM');
    await rm(folder, { recursive: true });
  });

  for (const [title, [body, expected]] of Object.entries(floods))
    it(`are answered, eight at once, and others meanwhile: ${title}`, async () => {
      let isOver = false;
      let slowest = 0;
      const others = (async () => {
        while (!isOver) {
          const began = performance.now();
          assert.equal((await call('GET', '/health/live')).status, 200);
          slowest = Math.max(slowest, performance.now() - began);
        }
      })();
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => call('POST', '/api/v1/telemetry', { body, headers })),
      );
      isOver = true;
      await others;
      assert.deepEqual(
        answers.map(({ status }) => status),
        answers.map(() => expected),
      );
      assert.equal(server.child.exitCode, null);
      if (process.env.FLOOD_FIGURES) console.log(title, body.length, 'slowest other', Math.round(slowest));
      // A machine that is busy otherwise may take as long for anything; eight of those bodies blocked for 9 s.
      assert.ok(slowest < 3_000, `another request took ${slowest} ms`);
    });

  it('are refused once a token has sent more than its rate', async () => {
    await eventually(
      async () => {
        const answers = await Promise.all(
          Array.from({ length: 100 }, () =>
            call('POST', '/api/v1/telemetry', { body: packed('[]'), headers }),
          ),
        );
        const limited = answers.find(({ status }) => status === 429);
        assert.equal(limited?.json.limit.name, 'per-token');
        assert.match(limited?.headers.get('Retry-After') ?? '', /^\d+$/);
      },
      { within: 60_000 },
    );
  });
});
