import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { openLog } from '../../../interfaces/composition/process.ts';
import { serve } from '../../../interfaces/composition/roles.ts';

describe('The files of a server that has stopped', function () {
  this.timeout(60_000);
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-copied-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const start = (name: string) =>
    serve(configFrom({ PORT: '0', DATA_DIR: path.join(folder, name) }), openLog('silent', 'serve'));

  async function send(url: string, route: string, body: unknown): Promise<void> {
    const headers = { 'Content-Type': 'application/json' };
    const { status } = await fetch(`${url}${route}`, { method: 'POST', headers, body: JSON.stringify(body) });
    assert.ok(status === 201 || status === 202, String(status));
  }
  // biome-ignore lint/suspicious/noExplicitAny: whatever the route answers
  const get = async (url: string, route: string): Promise<any> => (await fetch(`${url}${route}`)).json();
  const points = async (url: string) =>
    (await get(url, '/api/v1/devices/a/telemetry?waitFor=telemetry:0:2')).points.length;

  it('are whole without what SQLite keeps beside them', async () => {
    const first = await start('data');
    await send(first.url, '/api/v1/devices', { deviceId: 'a', name: 'A', type: 'test' });
    const readings = [1, 2].map((timestamp) => ({ deviceId: 'a', timestamp, metrics: { n: timestamp } }));
    await send(first.url, '/api/v1/telemetry', readings);
    assert.equal(await points(first.url), 2);
    await first.close();

    for (const name of await readdir(path.join(folder, 'data'))) {
      const file = path.join(folder, 'data', name);
      if (name.endsWith('-wal')) assert.equal((await stat(file)).size, 0, name);
      if (name.endsWith('.db')) await cp(file, path.join(folder, 'copy', name));
    }
    const second = await start('copy');
    try {
      const { projections } = await get(second.url, '/api/v1/status');
      assert.deepEqual(
        projections.map(({ lag }: { lag: number }) => lag),
        [0, 0, 0, 0],
      );
      assert.equal(await points(second.url), 2);
    } finally {
      await second.close();
    }
  });
});
