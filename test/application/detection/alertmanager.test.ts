import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { sendTest } from '../../../application/detection/sending.ts';
import { itWith } from '../../deploy/tools.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { HooksFixture } from '../../support/hooks-fixture.ts';

const hot = { kind: 'range', above: 30 } as const;

describe('Alarms to an Alertmanager', function () {
  this.timeout(60_000);
  let fixture: HooksFixture;
  beforeEach(async () => {
    fixture = await HooksFixture.open();
  });
  afterEach(() => fixture.close());

  it('are alerts of an Alertmanager, repeated before it forgets them, until they end', async () => {
    const receiver = await fixture.hook('am', undefined, 'alertmanager');
    await fixture.detection.rule('hot', {
      name: 'Too hot',
      condition: hot,
      severity: 'critical',
      notify: ['am'],
    });
    await fixture.measure('a', 31);
    await fixture.detect();
    await fixture.sending();
    const alerts = () => receiver.received.map(({ body }) => JSON.parse(body));
    const received = (count: number) => eventually(() => assert.equal(receiver.received.length, count));
    await received(1);
    const [alert] = alerts()[0];
    const [alarm] = await fixture.detection.alarms();
    const { startsAt, endsAt, ...said } = alert;
    assert.deepEqual(said, {
      labels: {
        alertname: 'Too hot',
        source: 'fieldlog',
        severity: 'critical',
        device_id: 'a',
        metric: 't',
        rule_id: 'hot',
        kind: 'range',
        alarm_id: alarm?.alarm_id,
      },
      annotations: { summary: '31 is above 30', value: '31' },
    });
    assert.equal(startsAt, new Date(fixture.start).toISOString());
    const lasts = (end: string) => Math.round((Date.parse(end) - fixture.clock.now()) / 60_000);
    assert.equal(lasts(endsAt), 15);
    await fixture.emptied('am');

    fixture.ahead = 299_000;
    const { deliveries } = await fixture.ports();
    assert.deepEqual(await deliveries.dueHooks(fixture.clock.now()), []);
    fixture.ahead = 305_000;
    await received(2);
    const [repeated] = alerts()[1];
    assert.deepEqual([repeated.labels, repeated.startsAt], [alert.labels, startsAt]);
    assert.equal(lasts(repeated.endsAt), 15);

    fixture.start = Date.now();
    await fixture.measure('a', 20);
    await fixture.detect();
    await received(3);
    const [ended] = alerts()[2];
    assert.deepEqual([ended.labels, ended.startsAt], [alert.labels, undefined]);
    assert.ok(Date.parse(ended.endsAt) <= fixture.clock.now());
    fixture.ahead += 86_400_000;
    await eventually(async () => assert.deepEqual(await deliveries.dueHooks(fixture.clock.now()), []));
    assert.equal(receiver.received.length, 3);
    assert.deepEqual(await deliveries.list('am', { state: 'repeating', limit: 10 }), []);
  });

  it('are repeated as soon as an Alertmanager is back, and not when their device was erased', async () => {
    let status = 200;
    const receiver = await fixture.hook('am', (_, res) => void res.writeHead(status).end(), 'alertmanager');
    await fixture.detection.rule('hot', { condition: hot, notify: ['am'] });
    await fixture.measure('a', 31);
    await fixture.detect();
    await fixture.sending();
    const tried = (count: number) => eventually(() => assert.equal(fixture.outcomes.length, count));
    await tried(1);
    status = 503;
    // Longer than any other delivery is tried.
    for (let tries = 2; tries < 10; tries += 1) {
      fixture.ahead += 305_000;
      await tried(tries);
    }
    status = 200;
    fixture.ahead += 305_000;
    await tried(10);
    assert.deepEqual([fixture.outcomes.at(-2), fixture.outcomes.at(-1)], ['retried', 'delivered']);
    await fixture.detection.db.run("DELETE FROM alarms_g1 WHERE device_id = 'a'");
    fixture.ahead += 305_000;
    const { deliveries } = await fixture.ports();
    await eventually(async () =>
      assert.deepEqual(await deliveries.list('am', { state: 'repeating', limit: 10 }), []),
    );
    assert.equal(receiver.received.length, 10);
  });

  itWith(
    'prometheus-alertmanager',
    'are active in Debian’s Alertmanager until they are cleared',
    async () => {
      await using server = await Alertmanager.start();
      await fixture.hookTo('am', server.url, 'alertmanager');
      await fixture.detection.rule('hot', { name: 'Too hot', condition: hot, notify: ['am'] });
      await fixture.measure('a', 31);
      await fixture.measure('b', 32);
      await fixture.detect();
      await fixture.sending();
      const active = async () =>
        (await server.alerts()).map(({ labels, annotations }) =>
          [labels.alertname, labels.device_id, annotations.summary].join(', '),
        );
      const [a, b] = ['Too hot, a, 31 is above 30', 'Too hot, b, 32 is above 30'];
      await eventually(async () => assert.deepEqual((await active()).sort(), [a, b]));
      const ends = async () =>
        Object.fromEntries((await server.alerts()).map((one) => [one.labels.device_id, one.endsAt]));
      const before = await ends();
      fixture.ahead = 305_000;
      await eventually(async () =>
        assert.ok(Date.parse((await ends()).b ?? '') > Date.parse(before.b ?? '')),
      );

      // By the Alertmanager's clock.
      fixture.ahead = 0;
      fixture.start = Date.now();
      await fixture.measure('a', 20);
      await fixture.detect();
      await eventually(async () => assert.deepEqual(await active(), [b]));

      const { hooks, sender, ids, clock } = await fixture.ports();
      const hook = await hooks.find('am');
      assert.ok(hook);
      const tested = await sendTest(hook, { sender, ids, clock }, new AbortController().signal);
      assert.deepEqual([tested.delivered, tested.status], [true, 200]);
      await eventually(async () => assert.equal((await active()).length, 2));
    },
  );
});

type Alert = {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly endsAt: string;
};

/** Debian's Alertmanager on a port of loopback. */
class Alertmanager implements AsyncDisposable {
  readonly url: string;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(url: string, folder: string, process: ChildProcess) {
    this.url = url;
    this.#folder = folder;
    this.#process = process;
  }

  static async start(): Promise<Alertmanager> {
    const folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-alertmanager-'));
    const config = path.join(folder, 'alertmanager.yml');
    await writeFile(config, JSON.stringify({ route: { receiver: 'none' }, receivers: [{ name: 'none' }] }));
    const address = `127.0.0.1:${await freePort()}`;
    const server = spawn(
      'prometheus-alertmanager',
      [
        `--config.file=${config}`,
        `--storage.path=${path.join(folder, 'data')}`,
        `--web.listen-address=${address}`,
        '--cluster.listen-address=',
      ],
      { stdio: 'ignore' },
    );
    const started = new Alertmanager(`http://${address}`, folder, server);
    await eventually(async () => assert.equal((await fetch(`${started.url}/-/ready`)).status, 200));
    return started;
  }

  /** Those that are active. */
  async alerts(): Promise<readonly Alert[]> {
    return (await (await fetch(`${this.url}/api/v2/alerts`)).json()) as readonly Alert[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null) {
      this.#process.kill('SIGKILL');
      await once(this.#process, 'exit');
    }
    await rm(this.#folder, { recursive: true });
  }
}
