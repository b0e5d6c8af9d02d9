import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Ran, runCli } from '../../support/cli.ts';
import { hookReceiver } from '../../support/hook-receiver.ts';
import { type ServedFolder, servedFolder } from '../../support/served.ts';

describe('fieldlog rules and alarms', function () {
  this.timeout(60_000);
  let served: ServedFolder;
  let folder: string;
  before(async () => {
    served = await servedFolder({ HOOKS_ALLOW: '127.0.0.1' });
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-rules-'));
  });
  after(async () => {
    await served.close();
    await rm(folder, { recursive: true });
  });

  const cli = (...args: string[]): Promise<Ran> => runCli([...args, '--url', served.url]);
  const json = async (...args: string[]) => {
    const { code, out, err } = await cli(...args, '--json');
    assert.deepEqual({ code, err }, { code: 0, err: '' });
    return JSON.parse(out);
  };
  const file = async (name: string, content: unknown): Promise<string> => {
    const at = path.join(folder, name);
    await writeFile(at, typeof content === 'string' ? content : JSON.stringify(content));
    return at;
  };

  it('creates, changes, disables, enables, lists, shows and removes a rule', async () => {
    const rule = { ruleId: 'hot', name: 'Too hot', kind: 'range', above: 90, for: '5m' };
    const created = await json('rules', 'create', await file('rule.json', rule));
    assert.deepEqual([created.ruleId, created.revision, created.for], ['hot', 0, '5m']);
    const changed = await json('rules', 'change', 'hot', await file('change.json', { above: 95, for: null }));
    assert.deepEqual([changed.above, changed.for, changed.revision], [95, undefined, 1]);
    assert.equal((await json('rules', 'disable', 'hot', '--if-revision', '1')).status, 'disabled');
    assert.equal((await json('rules', 'enable', 'hot')).status, 'enabled');
    assert.match(
      (await cli('rules', 'list')).out,
      /^id +status +kind.*\nhot +enabled +range +warning +Too hot/,
    );
    assert.match((await cli('rules', 'show', 'hot')).out, /above +95\n/);
    assert.equal((await json('rules', 'remove', 'hot')).status, 'removed');
    assert.deepEqual(await json('rules', 'list'), []);
  });

  it('previews a rule', async () => {
    const rule = await file('previewed.json', { name: 'Hot', kind: 'range', above: 90 });
    const range = ['--from', '2026-01-01T00:00:00Z', '--to', '2026-02-01T00:00:00Z'];
    assert.match(
      (await cli('rules', 'preview', rule, ...range)).out,
      /\n0 alarms in 0 values of 0 devices\n/,
    );
  });

  it('says what is wrong with a file, and with a rule in it', async () => {
    const missing = await cli('rules', 'create', path.join(folder, 'none.json'));
    assert.equal(missing.code, 2);
    assert.match(missing.err, /none\.json cannot be read/);
    const broken = await cli('rules', 'create', await file('broken.json', '{'));
    assert.equal(broken.code, 2);
    assert.match(broken.err, /broken\.json is not JSON/);
    const wrong = await cli('rules', 'create', await file('wrong.json', { name: 'x', kind: 'range' }));
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /\/above.*above or below is required/);
  });

  it('creates, changes, lists, disables and removes a hook, and retries what failed', async () => {
    const created = await json('hooks', 'create', 'https://hooks.example/alarms', '--id', 'on-call');
    assert.deepEqual([created.hookId, created.revision], ['on-call', 0]);
    assert.match(created.secret, /^whsec_/);
    const secret = await file('secret', `whsec_${Buffer.alloc(32, 1).toString('base64')}\n`);
    const address = 'https://hooks.example/2';
    const changed = await json('hooks', 'change', 'on-call', '--address', address, '--secret-file', secret);
    assert.deepEqual([changed.url, changed.revision, changed.secret], [address, 1, undefined]);
    assert.match(
      (await cli('hooks', 'list')).out,
      /^id +kind +status +address\non-call +webhook +enabled +https:\/\/hooks\.example\/2/,
    );
    const shown = (await cli('hooks', 'show', 'on-call')).out;
    assert.match(shown, /url +https:\/\/hooks\.example\/2\n/);
    assert.ok(!shown.includes('whsec'));
    assert.equal((await json('hooks', 'disable', 'on-call', '--if-revision', '1')).status, 'disabled');
    assert.deepEqual(await json('hooks', 'deliveries', 'on-call', '--state', 'failed'), []);
    assert.equal((await cli('hooks', 'retry', 'on-call')).out, '0 to be sent again\n');
    assert.equal((await json('hooks', 'remove', 'on-call')).status, 'removed');
    assert.deepEqual(await json('hooks', 'list'), []);
    const empty = await cli('hooks', 'change', 'on-call');
    assert.equal(empty.code, 2);
    assert.match(empty.err, /give --address or --secret-file/);
    const inner = await cli('hooks', 'create', 'http://10.0.0.1/');
    assert.equal(inner.code, 1);
    assert.match(inner.err, /10\.0\.0\.1 is not a public address/);
  });

  it('tests a hook: one signed message, and what the receiver answered', async () => {
    let status = 202;
    const receiver = await hookReceiver((_, res) => void res.writeHead(status).end());
    try {
      await json('hooks', 'create', receiver.url, '--id', 'tried');
      await json('hooks', 'disable', 'tried');
      const answer = await json('hooks', 'test', 'tried');
      const [message] = receiver.received;
      assert.deepEqual(answer, { eventId: message?.id, delivered: true, status: 202, error: null });
      assert.match(String(message?.headers['webhook-signature']), /^v1,/);
      const { type, subject, id } = JSON.parse(message?.body ?? '');
      assert.deepEqual([type, subject, id], ['fieldlog.hook.test', 'tried', answer.eventId]);
      status = 500;
      const refused = await cli('hooks', 'test', 'tried');
      assert.deepEqual([refused.code, refused.out], [1, 'not delivered: the receiver answered 500\n']);
      assert.equal(receiver.received.length, 2);
      assert.deepEqual(await json('hooks', 'deliveries', 'tried'), []);
    } finally {
      await receiver.close();
    }
    const unreachable = await cli('hooks', 'test', 'tried');
    assert.match(unreachable.out, /^not delivered: the receiver cannot be reached: ECONNREFUSED/);
    assert.equal(unreachable.code, 1);
  });

  it('lists alarms, and refuses to acknowledge one that is not there', async () => {
    assert.deepEqual(await json('alarms', 'list', '--state', 'open'), []);
    const none = '6f1c3f0e-7f6d-5f0a-9a35-2b1d6f0c8e21';
    const refused = await cli('alarms', 'acknowledge', none, '--note', 'Seen');
    assert.equal(refused.code, 1);
    assert.match(refused.err, /There is no alarm/);
    const gone = await cli('alarms', 'clear', none, '--note', 'Replaced');
    assert.deepEqual([gone.code, gone.err.includes(`There is no alarm ${none}`)], [1, true], gone.err);
  });
});
