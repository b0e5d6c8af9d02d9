import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { comparePositions, type Position } from '../../application/ports/event-source.ts';
import { onEachProfile } from '../support/each-profile.ts';
import { type RunningServer, runningServer } from '../support/running-server.ts';

const readings = 5000;
const devices = 500;

/** What a reader of each projection asks for, which neither a rebuild nor what comes meanwhile may change. */
const questions = {
  devices: ['/api/v1/devices?limit=20&q=d-49', '/api/v1/devices?limit=10&type=test'],
  device_history: ['/api/v1/devices/a/history'],
  telemetry: [
    `/api/v1/devices/a/telemetry?to=${readings}&limit=10000`,
    `/api/v1/devices/a/telemetry?to=${readings}&interval=1h`,
    '/api/v1/devices/a/telemetry/latest',
  ],
} as const;

/** Events a second, so that a rebuild of each takes a while. */
const slowly = { devices: '500', device_history: '500', telemetry: '5000' } as const;

onEachProfile('Readers, while a projection is rebuilt', (open) => {
  let server: RunningServer;
  let drop: () => Promise<void>;

  before(async () => {
    const opened = await open();
    drop = opened.drop;
    server = await runningServer(opened.env, opened.roles);
    await server.register('a', 'b');
    const json = [
      ...Array.from({ length: devices }, (_, n) => ({ deviceId: `d-${n}`, name: 'D', type: 'test' })),
      { deviceId: 'busy', name: 'Busy', type: 'busy' },
    ];
    assert.equal((await server.call('POST', '/api/v1/devices/bulk', { json })).status, 200);
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

  for (const projection of Object.keys(slowly) as (keyof typeof slowly)[])
    it(`of ${projection} see no error, nothing empty and no mixture`, async function () {
      const addresses = questions[projection];
      const stop = new AbortController();
      const first = await Promise.all(addresses.map((address) => server.call('GET', address)));
      for (const { text } of first) assert.ok(text.length > 50, text);
      const slowest = { milliseconds: 0, answers: 0 };
      const work = [read(), change()];
      try {
        const { switched, comparison } = await operated('rebuild', '--throttle', slowly[projection]);
        assert.ok(switched && comparison.equal && comparison.samePosition, JSON.stringify(comparison));
      } finally {
        stop.abort();
        await Promise.all(work);
      }
      assert.ok(slowest.answers > 50, `${slowest.answers} answers`);
      if (this.test)
        this.test.title += ` (the slowest of ${slowest.answers} answers: ${slowest.milliseconds.toFixed(0)} ms)`;

      // The generation that is read now has gone on by itself; the old one is brought to where it is.
      const { comparison } = await operated('rollback');
      assert.ok(comparison.equal && comparison.samePosition, JSON.stringify(comparison));

      async function operated(what: 'rebuild' | 'rollback', ...options: string[]) {
        const { code, out, err } = await server.command(
          'projections',
          what,
          projection,
          '--json',
          ...options,
        );
        assert.equal(code, 0, err);
        return JSON.parse(out);
      }

      async function read(): Promise<void> {
        const seen = new Map<string, Position>();
        while (!stop.signal.aborted) {
          for (const [i, address] of addresses.entries()) {
            const asked = performance.now();
            const { status, text, headers } = await server.call('GET', address);
            slowest.milliseconds = Math.max(slowest.milliseconds, performance.now() - asked);
            slowest.answers += 1;
            assert.equal(status, 200, text);
            assert.ok(text === first[i]?.text, `${address} answered ${text.slice(0, 500)}`);
            neverBack(headers.get('Fieldlog-Position') ?? '', seen);
          }
          await pause(10);
        }
      }

      async function change(): Promise<void> {
        for (let n = 0; !stop.signal.aborted; n += 1) {
          await server.measure('b', [n]);
          await server.call('PATCH', '/api/v1/devices/busy', { json: { name: `Busy ${projection} ${n}` } });
          await pause(20);
        }
      }
    });
});

/** What readers are told of how far they see. */
function neverBack(positions: string, seen: Map<string, Position>): void {
  assert.notEqual(positions, '');
  for (const one of positions.split(/, */)) {
    const [, partition = '', position = ''] = /^(\w+:\d+):(\S+)$/.exec(one) ?? [];
    assert.notEqual(position, '', positions);
    assert.ok(
      comparePositions(position, seen.get(partition) ?? null) >= 0,
      `${one} after ${seen.get(partition)}`,
    );
    seen.set(partition, position);
  }
}
