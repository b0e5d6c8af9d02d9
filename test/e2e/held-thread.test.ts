import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { eventually } from '../support/eventually.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';

describe('A server whose projectors no longer run', function () {
  this.timeout(60_000);
  let folder: string;
  let held: string;
  let server: RunningServer;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-held-'));
    held = path.join(folder, 'held');
    const holding = pathToFileURL(path.resolve(import.meta.dirname, '../support/hold-projectors.mjs'));
    server = await runningServer({
      HOLD_PROJECTORS: held,
      NODE_OPTIONS: `--import=${holding}`,
      PROJECTOR_STALL_MS: '1000',
    });
  });
  after(async () => {
    await rm(held, { force: true });
    await server.close();
    await rm(folder, { recursive: true });
  });

  const up = async () => {
    const { status, text } = await server.call('GET', '/metrics');
    assert.equal(status, 200);
    const [, value] = text.match(/^fieldlog_projector_thread_up (\d)$/m) ?? [];
    const hasOwn = text.includes('fieldlog_projection_stalled{');
    assert.equal(text.includes('# The projector thread did not answer'), !hasOwn);
    return [value, hasOwn];
  };

  it('shows the metrics of the rest, and that those of the projectors are missing', async () => {
    await eventually(async () => assert.deepEqual(await up(), ['1', true]));
    await writeFile(held, '');
    await eventually(async () => assert.deepEqual(await up(), ['0', false]), { within: 20_000 });
    // Two scrapes at once are two askers of one question.
    assert.deepEqual(await Promise.all([up(), up()]), [
      ['0', false],
      ['0', false],
    ]);
  });

  it('is not alive, takes readings all the same, and is well again with its projectors', async () => {
    await eventually(
      async () => {
        const { status, json } = await server.call('GET', '/health/live');
        assert.deepEqual(
          [status, json.detail.slice(0, 45)],
          [503, 'nothing was heard of the projector thread for'],
        );
      },
      { within: 20_000 },
    );
    await server.register('d-1');
    await server.measure('d-1', [1]);
    await rm(held);
    await eventually(async () => assert.deepEqual(await up(), ['1', true]), { within: 20_000 });
    await eventually(async () => assert.equal((await server.call('GET', '/health/live')).status, 200), {
      within: 20_000,
    });
    await server.settled();
  });
});
