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

type ProjectionName = keyof typeof slowly;
const projections = Object.keys(slowly) as readonly ProjectionName[];

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

  it('see no error, nothing empty and no mixture', async function () {
    const stop = new AbortController();
    const changing = change();
    const slowest: string[] = [];
    try {
      // At once, as one operator may do it.
      await Promise.all(projections.map(async (one) => slowest.push(await readWhileRebuilt(one))));
    } finally {
      stop.abort();
      await changing;
    }
    if (this.test) this.test.title += ` (the slowest answers in ms: ${slowest.join(', ')})`;

    // The generations that are read now have advanced by themselves; the old ones are brought to where they are.
    await Promise.all(
      projections.map(async (projection) => {
        const { comparison } = await operated('rollback', projection);
        assert.ok(comparison.equal && comparison.samePosition, JSON.stringify(comparison));
      }),
    );

    async function change(): Promise<void> {
      for (let n = 0; !stop.signal.aborted; n += 1) {
        await server.measure('b', [n]);
        await server.call('PATCH', '/api/v1/devices/busy', { json: { name: `Busy ${n}` } });
        await pause(20);
      }
    }
  });

  /** Answers with the slowest answer that readers got meanwhile. */
  async function readWhileRebuilt(projection: ProjectionName): Promise<string> {
    const addresses = questions[projection];
    const first = await Promise.all(addresses.map((address) => server.call('GET', address)));
    for (const { text } of first) assert.ok(text.length > 50, text);
    const stop = new AbortController();
    const slowest = { milliseconds: 0, answers: 0 };
    const reading = read();
    try {
      const { switched, comparison } = await operated(
        'rebuild',
        projection,
        '--throttle',
        slowly[projection],
      );
      assert.ok(switched && comparison.equal && comparison.samePosition, JSON.stringify(comparison));
    } finally {
      stop.abort();
      await reading;
    }
    assert.ok(slowest.answers > 50, `${slowest.answers} answers of ${projection}`);
    return `${projection} ${slowest.milliseconds.toFixed(0)} of ${slowest.answers}`;

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
  }

  async function operated(what: 'rebuild' | 'rollback', projection: ProjectionName, ...options: string[]) {
    const { code, out, err } = await server.command('projections', what, projection, '--json', ...options);
    assert.equal(code, 0, err);
    return JSON.parse(out);
  }
});

/** How far readers see by the header of an answer. */
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
