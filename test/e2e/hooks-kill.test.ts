import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { onEachEngine, type ReadModelStore } from '../support/each-engine.ts';
import { eventually } from '../support/eventually.ts';
import { HooksFixture } from '../support/hooks-fixture.ts';
import { ownEnvironment } from '../support/own-environment.ts';
import { seeded } from '../support/seeded.ts';

const alarmsOfEach = 15;
const kills = 3;
const script = path.resolve(import.meta.dirname, '../support/hook-sending.ts');

onEachEngine('A sender to hooks that is killed', (open) => {
  let stores: ReadModelStore;
  let fixture: HooksFixture;
  let sender: ChildProcess | undefined;

  beforeEach(async () => {
    stores = await open();
    fixture = await HooksFixture.open(stores.env);
  });
  afterEach(async () => {
    await kill();
    await fixture.close();
    await stores.drop();
  });

  async function kill(): Promise<void> {
    if (!sender || sender.exitCode !== null || sender.signalCode !== null) return;
    sender.kill('SIGKILL');
    await once(sender, 'exit');
  }

  it('and a receiver that dies, lose nothing: each id comes, with one content, in order of its alarm', async () => {
    const random = seeded(5);
    let isAlive = true;
    // How many more it answers before the sender is killed.
    let answers = Number.POSITIVE_INFINITY;
    let unanswered = 0;
    const failures = new Map<string, number>();
    const receiver = await fixture.hook('one', ({ id }, res) => {
      if (answers === 0) {
        unanswered += 1;
        return;
      }
      answers -= 1;
      const failed = failures.get(id) ?? 0;
      const isWell = failed >= 2 || (isAlive && random.next() < 0.8);
      if (isWell) return void res.writeHead(204).end();
      failures.set(id, failed + 1);
      // It has received it, and dies before it answers; or it answers that it is busy.
      if (!isAlive || random.next() < 0.5) res.destroy();
      else res.writeHead(503).end();
    });
    await fixture.detection.rule('hot', { condition: { kind: 'range', above: 30 }, notify: ['one'] });
    const values = Array.from({ length: alarmsOfEach }, () => [31, 20]).flat();
    for (const deviceId of ['a', 'b']) await fixture.measure(deviceId, ...values);
    await fixture.detection.register('c');
    fixture.start -= 3 * 3_600_000;
    await fixture.measure('c', ...values);
    await fixture.detect();
    const wanted = (await fixture.listed('one')).map(({ eventId, alarmId }) => ({
      eventId,
      // A summary is about its hook.
      alarmId: alarmId || 'one',
    }));
    assert.equal(wanted.length, 4 * alarmsOfEach + 1);

    const origin = Date.now();
    const start = (speed: number) => {
      const own = { DATA_DIR: fixture.detection.folder, HOOKS_ALLOW: '127.0.0.1' };
      const clock = { ORIGIN: String(origin), SPEED: String(speed) };
      const env = { ...ownEnvironment, ...stores.env, ...own, ...clock };
      sender = spawn(process.execPath, [script], { env, stdio: ['ignore', 'inherit', 'inherit'] });
    };
    for (let killed = 0; killed < kills; killed += 1) {
      [isAlive, answers, unanswered] = [killed !== 1, 1 + Math.floor(8 * random.next()), 0];
      start(40);
      // It is killed while it waits for an answer, however fast it is.
      const wanted = () => assert.ok(unanswered > 0, `${answers} to come, exit code ${sender?.exitCode}`);
      await eventually(wanted, { within: 20_000 });
      await kill();
    }
    [isAlive, answers] = [true, Number.POSITIVE_INFINITY];
    // What was taken each time and then failed twice is due after six hours.
    start(5000);
    await fixture.emptied('one');

    const seen = new Map<string, string>();
    const order = new Map<string, string[]>();
    for (const { id, body } of receiver.received) {
      assert.equal(seen.get(id) ?? body, body, 'the same id says the same');
      const { subject } = JSON.parse(body);
      if (!seen.has(id)) order.set(subject, [...(order.get(subject) ?? []), id]);
      seen.set(id, body);
    }
    const wantedOrder = Map.groupBy(wanted, ({ alarmId }) => alarmId);
    assert.deepEqual(
      order,
      new Map(
        [...order.keys()].map((alarm) => [alarm, wantedOrder.get(alarm)?.map(({ eventId }) => eventId)]),
      ),
    );
    assert.deepEqual([...seen.keys()].sort(), wanted.map(({ eventId }) => eventId).sort());
    const summary = receiver.received.find(({ body }) => JSON.parse(body).subject === 'one');
    assert.equal(JSON.parse(summary?.body ?? '').data.raised, alarmsOfEach);
    assert.ok(receiver.received.length > wanted.length, 'some came twice');
  });
});
