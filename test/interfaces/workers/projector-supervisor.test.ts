import assert from 'node:assert/strict';
import { type Clock, install } from '@sinonjs/fake-timers';
import { OperatorNeeded } from '../../../application/ports/event-source.ts';
import { EventStoreUnavailable } from '../../../application/ports/event-store.ts';
import type { ProjectionControl } from '../../../application/ports/generations.ts';
import { superviseProjectors } from '../../../interfaces/workers/projector-supervisor.ts';
import { quiet } from '../../support/replay-fixture.ts';

const generation = { projection: 'devices', generation: 1, version: 1, status: 'active' };
const state = { projection: 'devices', active: 1, paused: false, refused: null, generations: [generation] };

describe('Supervised projectors', () => {
  let clock: Clock;

  beforeEach(() => {
    clock = install({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  });

  afterEach(() => clock.uninstall());

  it('keep saying why a projection does not continue, for as long as each try fails at once', async () => {
    const said: (string | null)[] = [];
    const control = {
      states: async () => [state],
      publishViews: async () => {},
      setRefused: async (_: string, reason: string | null) => void said.push(reason),
    } as unknown as ProjectionControl;
    const run = () => Promise.reject(new OperatorNeeded('its log is another one'));
    const stop = new AbortController();
    const devices = { name: 'devices', version: 1, run, upgrade: async () => {} };
    const running = superviseProjectors([devices], control, stop.signal, quiet);
    await clock.tickAsync(45_000);
    stop.abort();
    await clock.tickAsync(1);
    await running;
    assert.ok(said.length > 2, 'it is tried again');
    assert.deepEqual([...new Set(said)], ['its log is another one']);
  });

  it('log an outage of the event store once, and every other failure', async () => {
    const logged: string[] = [];
    const log = { ...quiet, warn: () => void logged.push('warn'), error: () => void logged.push('error') };
    const control = {
      states: async () => [state],
      publishViews: async () => {},
      setRefused: async () => {},
    } as unknown as ProjectionControl;
    const failures = [
      ...Array<Error>(4).fill(new EventStoreUnavailable('away')),
      ...Array<Error>(2).fill(new Error('a fault')),
    ];
    const run = (_: unknown, signal: AbortSignal) => {
      const failure = failures.shift();
      if (failure) return Promise.reject(failure);
      return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    };
    const stop = new AbortController();
    const devices = { name: 'devices', version: 1, run, upgrade: async () => {} };
    const running = superviseProjectors([devices], control, stop.signal, log);
    await clock.tickAsync(60_000);
    stop.abort();
    await clock.tickAsync(1);
    await running;
    assert.deepEqual(failures, []);
    assert.deepEqual(logged, ['warn', 'error', 'error']);
  });
});
