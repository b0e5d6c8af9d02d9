import assert from 'node:assert/strict';
import { type Clock, install } from '@sinonjs/fake-timers';
import { Interrupted } from '../../../interfaces/cli/exit-codes.ts';
import { type Ran, runCli } from '../../support/cli.ts';

describe('A server that is asked to stop', () => {
  let clock: Clock;
  let stop: AbortController;
  let exits: number[];
  let closed: PromiseWithResolvers<void>;
  let ran: Promise<Ran>;

  beforeEach(async () => {
    clock = install({ toFake: ['setTimeout', 'clearTimeout'] });
    stop = new AbortController();
    exits = [];
    closed = Promise.withResolvers();
    const silent = () => {};
    ran = runCli(['api'], {
      env: { SHUTDOWN_MS: '4000', SHUTDOWN_LEAD_MS: '1000' },
      signal: stop.signal,
      runtime: {
        log: async () => ({ debug: silent, info: silent, warn: silent, error: silent }),
        start: async () => ({
          url: 'http://localhost:1',
          notices: [],
          failed: new Promise<never>(silent),
          close: () => closed.promise,
        }),
        openApplication: async () => assert.fail('a server opens its own'),
        migrateTopic: async () => assert.fail('a server copies no topic'),
        exit: (code) => exits.push(code),
      },
    });
    await clock.tickAsync(1);
    stop.abort(new Interrupted('SIGTERM'));
    await clock.tickAsync(1);
  });
  afterEach(() => clock.uninstall());

  it('is ended where what it closes does not answer for 15 s beyond what requests get, and says so', async () => {
    await clock.tickAsync(19_000);
    assert.deepEqual(exits, []);
    await clock.tickAsync(1_000);
    assert.deepEqual(exits, [143]);
    closed.resolve();
    assert.match((await ran).err, /had not stopped within 20 s and was ended/);
  });

  it('is not ended once it has stopped', async () => {
    closed.resolve();
    assert.equal((await ran).code, 0);
    await clock.tickAsync(60_000);
    assert.deepEqual(exits, []);
  });
});
