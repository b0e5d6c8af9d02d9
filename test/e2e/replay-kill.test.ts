import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { onBothEngines } from '../support/both-engines.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';

const readings = 3000;
const projection = 'telemetry';

/** What a rebuild says when it has come to the moment at which it is to be killed. */
const moments = {
  start: /^Building generation/m,
  fill: /^fill:/m,
  'catch-up': /^catch-up:/m,
  compare: /^compare:/m,
  switch: /^switch:/m,
} as const;

onBothEngines('A rebuild killed with kill -9', (open) => {
  let server: RunningServer;
  let drop: () => Promise<void>;
  let sending: Promise<void>;
  let over = false;

  before(async () => {
    const opened = await open();
    drop = opened.drop;
    server = await runningServer(opened.env);
    await server.register('old', 'new');
    for (let n = 0; n < readings; n += 1000)
      await server.measure(
        'old',
        Array.from({ length: 1000 }, (_, i) => n + i),
      );
    await server.settled();
    sending = (async () => {
      for (let n = 0; !over; n += 1) {
        await server.measure('new', [n]);
        await pause(5);
      }
    })();
  });
  after(async () => {
    over = true;
    await sending;
    await server.close();
    await drop();
  });

  for (const [moment, said] of Object.entries(moments))
    it(`at the moment of ${moment}, goes on when it is run again, and ends equal`, async () => {
      const slowly = ['--throttle', '4000'];
      const victim = server.start('projections', 'rebuild', projection, ...slowly);
      await eventually(() => assert.match(victim.errors(), said), { within: 30_000 });
      await victim.end('SIGKILL');

      const wasBuilding = (await statuses()).includes('building');
      const { code, out, err } = await server.command('projections', 'rebuild', projection, '--json');
      assert.equal(code, 0, err);
      const outcome = JSON.parse(out);
      assert.equal(outcome.switched, true);
      assert.deepEqual(
        outcome.comparison.tables.filter(({ equal }: { equal: boolean }) => !equal),
        [],
      );
      // Near its end, a rebuild may be over before it can be killed.
      assert.equal(outcome.resumed, wasBuilding);

      assert.deepEqual(new Set(await statuses()), new Set(['retired', 'active']));
      for (const { generation, status } of await generations())
        if (status === 'retired')
          assert.equal((await server.command('projections', 'drop', projection, String(generation))).code, 0);
    });

  it('loses no reading', async () => {
    over = true;
    await sending;
    await server.settled();
    const { code, out } = await server.command('audit');
    assert.equal(code, 0, out);
    assert.match(out, /No difference/);
  });

  async function generations(): Promise<readonly { readonly generation: number; readonly status: string }[]> {
    return (await server.call('GET', `/api/v1/projections/${projection}`)).json.generations;
  }

  async function statuses(): Promise<readonly string[]> {
    return (await generations()).map(({ status }) => status);
  }
});
