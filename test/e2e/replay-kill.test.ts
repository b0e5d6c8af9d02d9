import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { onEachProfile } from '../support/each-profile.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';

const readings = 3000;
const devices = 600;

/** Events a second at which the filling of each is slow enough to be seen half done. */
const slowly = { devices: '400', device_history: '400', telemetry: '2000' } as const;

/** What a rebuild says when it has come to the moment at which it is to be killed. */
const moments = {
  start: /^Building generation/m,
  fill: /^fill:/m,
  'catch-up': /^catch-up:/m,
  compare: /^compare:/m,
  switch: /^switch:/m,
} as const;

/** History goes through the very steps of devices: those of its own tables are enough. */
const projectionsKilledAt = (moment: string) =>
  (Object.keys(slowly) as (keyof typeof slowly)[]).filter(
    (projection) => projection !== 'device_history' || /fill|switch/.test(moment),
  );

onEachProfile('A rebuild killed with kill -9', (open) => {
  let server: RunningServer;
  let drop: () => Promise<void>;
  let changing: Promise<void>;
  let over = false;

  before(async () => {
    const opened = await open();
    drop = opened.drop;
    server = await runningServer(opened.env, opened.roles);
    await server.register('old', 'new');
    const json = Array.from({ length: devices }, (_, n) => ({ deviceId: `d-${n}`, name: 'D', type: 'test' }));
    assert.equal((await server.call('POST', '/api/v1/devices/bulk', { json })).status, 200);
    for (let n = 0; n < readings; n += 1000)
      await server.measure(
        'old',
        Array.from({ length: 1000 }, (_, i) => n + i),
      );
    await server.settled();
    changing = (async () => {
      for (let n = 0; !over; n += 1) {
        await server.measure('new', [n]);
        // Another one each time: the longer a stream, the longer it takes to change its device.
        await server.call('PATCH', `/api/v1/devices/d-${n % devices}`, { json: { name: `New ${n}` } });
        await pause(50);
      }
    })();
  });
  after(async () => {
    over = true;
    await changing;
    await server.close();
    await drop();
  });

  // All at once: after each kill, the next run has to wait until the lease of the victim has expired.
  for (const moment of Object.keys(moments) as (keyof typeof moments)[])
    it(`at the moment of ${moment}, continues when it is run again, and ends equal`, async () => {
      await Promise.all(
        projectionsKilledAt(moment).map((projection) => killedAndRunAgain(projection, moment)),
      );
    });

  async function killedAndRunAgain(
    projection: keyof typeof slowly,
    moment: keyof typeof moments,
  ): Promise<void> {
    const pace = moment === 'fill' ? ['--throttle', slowly[projection]] : [];
    const victim = server.start('projections', 'rebuild', projection, ...pace);
    await eventually(() => assert.match(victim.errors(), moments[moment]), { within: 60_000 });
    if (moment === 'fill') await eventually(halfFilled, { within: 60_000 });
    await victim.end('SIGKILL');

    const wasBuilding = (await statuses()).includes('building');
    const { code, out, err } = await server.command('projections', 'rebuild', projection, '--json');
    assert.equal(code, 0, `${projection}: ${err}`);
    const outcome = JSON.parse(out);
    assert.equal(outcome.switched, true, projection);
    assert.equal(outcome.comparison.samePosition, true, projection);
    assert.deepEqual(
      outcome.comparison.tables.filter(({ equal }: { equal: boolean }) => !equal),
      [],
    );
    // Near its end, a rebuild may be over before it can be killed.
    assert.equal(outcome.resumed, wasBuilding, projection);

    assert.deepEqual(new Set(await statuses()), new Set(['retired', 'active']));
    for (const { generation, status } of await generations())
      if (status === 'retired') {
        const dropped = await server.call('POST', `/api/v1/projections/${projection}/drop`, {
          json: { generation },
        });
        assert.equal(dropped.status, 200, dropped.text);
      }

    async function halfFilled(): Promise<void> {
      const building = (await generations()).find(({ status }) => status === 'building');
      assert.ok(building?.progress && building.progress.done > 0);
    }

    async function generations(): Promise<readonly Generation[]> {
      return (await server.call('GET', `/api/v1/projections/${projection}`)).json.generations;
    }

    async function statuses(): Promise<readonly string[]> {
      return (await generations()).map(({ status }) => status);
    }
  }

  it('loses no reading', async () => {
    over = true;
    await changing;
    await server.settled();
    const { code, out } = await server.command('audit');
    assert.equal(code, 0, out);
    assert.match(out, /No difference/);
  });
});

type Generation = {
  readonly generation: number;
  readonly status: string;
  readonly progress: { readonly done: number } | null;
};
