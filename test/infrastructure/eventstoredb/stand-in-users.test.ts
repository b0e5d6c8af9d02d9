import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { AccessDeniedError, ANY, type EventStoreDBClient } from '@eventstore/db-client';
import { newStream } from '../../contracts/event-store.contract.ts';
import { bareClients, eventsOf, failureOf, someEvent } from '../../support/eventstoredb/bare-clients.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { eventually } from '../../support/eventually.ts';
import { selfSigned } from '../../support/self-signed.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';
import { temporaryDirectory } from '../sqlite/temporary-directory.ts';

/** What EventStoreDB 23.10.6 with TLS and users was seen to answer, asked of the tests' stand-in. */
describe('The EventStoreDB stand-in, TLS and users', () => {
  const folder = temporaryDirectory();
  const certificate = selfSigned();
  const caFile = path.join(folder.path, 'ca.pem');
  let server: EventStoreDbDouble;
  let stream: string;
  const open = bareClients();
  failOnUnhandledRejections();

  before(() => writeFileSync(caFile, certificate.cert));
  after(() => folder.remove());
  beforeEach(async () => {
    server = await EventStoreDbDouble.start({ certificate });
    stream = newStream();
    server.store.rights.setUser('admin', { password: 'changeit', groups: ['$admins'] });
    server.store.rights.setUser('fieldlog', { password: 'p' });
    server.store.rights.setUser('other', { password: 'p' });
  });
  afterEach(() => server.stop());

  const by = (user?: string, appends?: 'batch') =>
    open(`${server.urlOf(user)}&tlsCAFile=${encodeURIComponent(caFile)}`, appends);
  const write = (client: EventStoreDBClient) =>
    client.appendToStream(stream, someEvent(), { expectedRevision: ANY });
  const read = (client: EventStoreDBClient) => eventsOf(client.readStream(stream));
  const readAll = (client: EventStoreDBClient) => eventsOf(client.readAll());
  const subscribed = (client: EventStoreDBClient) =>
    new Promise((resolve, reject) => {
      client.subscribeToAll().on('confirmation', resolve).on('error', reject);
    });
  const calls: Record<string, (client: EventStoreDBClient) => Promise<unknown>> = {
    'an append': write,
    'a read': read,
    'a read of $all': readAll,
    'a subscription to $all': subscribed,
    'setting metadata': (client) => client.setStreamMetadata(stream, {}),
    'reading metadata': (client) => client.getStreamMetadata(stream),
    'a delete': (client) => client.deleteStream(stream),
  };
  const denied = async (call: Promise<unknown>) => {
    const { error, type, code, trailers } = await failureOf(call);
    assert.ok(error instanceof AccessDeniedError);
    assert.deepEqual([type, code, trailers.exception], ['access-denied', 7, 'access-denied']);
  };

  it('lets an administrator do everything', async () => {
    const client = by('admin:changeit');
    for (const call of Object.values(calls)) await call(client);
  });

  it('lets an ordinary user append to streams and read them, but not $all', async () => {
    const client = by('fieldlog:p');
    await write(client);
    assert.equal((await read(client)).length, 1);
    await client.setStreamMetadata(stream, { truncateBefore: 0 });
    await denied(readAll(client));
    await denied(subscribed(client));
  });

  it('lets those read $all who are in its list', async () => {
    const admin = by('admin:changeit');
    await denied(by('fieldlog:p').setStreamMetadata('$all', { acl: { readRoles: ['fieldlog'] } as never }));
    await admin.setStreamMetadata('$all', { acl: { readRoles: ['$admins', 'fieldlog'] } as never });
    await write(by('fieldlog:p'));
    assert.ok((await readAll(by('fieldlog:p'))).length >= 2);
    await subscribed(by('fieldlog:p'));
    await denied(readAll(by('other:p')));
  });

  it('lets those use a stream who are in its list, by name or by group', async () => {
    server.store.rights.setUser('other', { password: 'p', groups: ['auditors'] });
    await by('admin:changeit').setStreamMetadata(stream, {
      acl: {
        readRoles: ['fieldlog', 'auditors'],
        writeRoles: ['fieldlog'],
        metaWriteRoles: ['$admins'],
      } as never,
    });
    const [ours, theirs] = [by('fieldlog:p'), by('other:p')];
    await write(ours);
    await read(ours);
    await denied(ours.setStreamMetadata(stream, {}));
    await denied(write(theirs));
    assert.equal((await read(theirs)).length, 1);
  });

  it('takes its defaults from $settings', async () => {
    const acl = { $r: 'fieldlog', $w: 'fieldlog', $d: '$admins', $mr: '$admins', $mw: '$admins' };
    await by('admin:changeit').appendToStream('$settings', {
      ...someEvent({ $userStreamAcl: acl, $systemStreamAcl: { $r: ['fieldlog'] } }),
      type: 'update-default-acl',
    });
    await write(by('fieldlog:p'));
    assert.equal((await readAll(by('fieldlog:p'))).length, 2);
    await denied(by('fieldlog:p').setStreamMetadata(stream, {}));
    await denied(write(by('other:p')));
  });

  it('fails batch appends without rights without a code', async () => {
    await by('admin:changeit').setStreamMetadata(stream, { acl: { writeRoles: ['fieldlog'] } as never });
    await write(by('fieldlog:p', 'batch'));
    const { error, code } = await failureOf(write(by('other:p', 'batch')));
    assert.ok(error instanceof AccessDeniedError);
    assert.equal(code, undefined);
  });

  for (const [title, call] of Object.entries(calls)) {
    it(`fails ${title} with a wrong password as unauthenticated`, async () => {
      const { error, code } = await failureOf(call(by('fieldlog:wrong')));
      assert.ok(error instanceof AccessDeniedError);
      assert.equal(code, 16);
    });

    it(`fails ${title} without a user`, () => denied(call(by())));
  }

  it('knows the new password at once when it is changed', async () => {
    const client = by('fieldlog:p');
    await write(client);
    server.store.rights.setUser('fieldlog', { password: 'q' });
    assert.equal((await failureOf(write(client))).code, 16);
    await write(by('fieldlog:q'));
  });

  it('takes a password that is percent-encoded in the URL', async () => {
    server.store.rights.setUser('fieldlog', { password: 'a@b:c/d' });
    await write(by(`fieldlog:${encodeURIComponent('a@b:c/d')}`));
  });

  it('is not spoken to by who does not trust its certificate', async () => {
    const { code, message } = await failureOf(read(open(server.urlOf('admin:changeit'))));
    assert.equal(code, 14);
    assert.match(message, /self-signed certificate|unable to verify/);
  });

  it('cannot be reached without TLS on its TLS port', async () => {
    const plain = server.url.replace('tls=true', 'tls=false');
    const { code, message } = await failureOf(read(open(plain)));
    assert.equal(code, 14);
    assert.notEqual(message, '');
  });

  it('cannot be reached by TLS on a plain port', async () => {
    const plain = await EventStoreDbDouble.start();
    try {
      const { port } = plain.endpoint();
      const { code, message } = await failureOf(read(open(`esdb://localhost:${port}?tls=true`)));
      assert.equal(code, 14);
      assert.match(message, /SSL|wrong version|disconnected/);
      await eventually(() => assert.equal(plain.connections, 0));
    } finally {
      await plain.stop();
    }
  });
});
