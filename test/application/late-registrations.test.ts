import assert from 'node:assert/strict';
import { type Clock, install } from '@sinonjs/fake-timers';
import { retryRegistered } from '../../application/late-registrations.ts';
import { quiet } from '../support/replay-fixture.ts';

const stall = 600_000;

describe('The look for dead letters of devices registered since', () => {
  let clock: Clock;
  const stop = new AbortController();
  let looks: number[];
  let retrying: Promise<void>;

  beforeEach(() => {
    clock = install({ now: 0, toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    looks = [];
    const generations = [{ generation: 1, version: 1 }];
    const ports = {
      control: { states: async () => [{ projection: 'telemetry', active: 1, generations }] },
      deadLetters: {
        list: async () => [],
        ofRegisteredDevices: async () => {
          looks.push(clock.now);
          if (looks.length === 1) await new Promise((resolve) => setTimeout(resolve, stall));
          return [];
        },
      },
      readModels: {},
    } as unknown as Parameters<typeof retryRegistered>[1];
    const projection = { name: 'telemetry', version: 1 } as Parameters<typeof retryRegistered>[0];
    retrying = retryRegistered(projection, ports, quiet, stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    clock.uninstall();
    await retrying;
  });

  it('comes within a minute after one that the database drew out, and every second then', async () => {
    await clock.tickAsync(stall + 63_000);
    assert.deepEqual(looks, [0, stall + 60_000, stall + 61_000, stall + 62_000, stall + 63_000]);
  });
});
