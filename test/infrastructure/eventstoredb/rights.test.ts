import assert from 'node:assert/strict';
import { EventStoreUnavailable } from '../../../application/ports/event-store.ts';
import type { Log } from '../../../application/ports/system.ts';
import { EventStoreDbConnection } from '../../../infrastructure/eventstoredb/connection.ts';
import { Failures } from '../../../infrastructure/eventstoredb/errors.ts';
import { checkEventStore, requireRights } from '../../../infrastructure/eventstoredb/rights.ts';
import { StartupError } from '../../../infrastructure/startup-error.ts';
import { EventStoreDbDouble } from '../../support/eventstoredb/eventstoredb-double.ts';
import { silentLog } from '../../support/eventstoredb/silent-log.ts';
import { type SecureNode, secureNode, standIns } from '../../support/eventstoredb/stand-ins.ts';
import { failOnUnhandledRejections } from '../../support/unhandled-rejections.ts';

const everyone = ['$admins', 'fieldlog'];
const allOf = (roles: unknown) => ({ $r: roles, $w: roles, $d: '$admins', $mr: roles, $mw: roles });

describe('The rights that EventStoreDB gives the user', () => {
  let node: SecureNode;
  const connections: EventStoreDbConnection[] = [];
  failOnUnhandledRejections();

  beforeEach(async () => {
    node = await secureNode();
  });
  afterEach(async () => {
    await Promise.all(connections.splice(0).map((connection) => connection.close()));
    await node.stop();
  });

  function connectionTo(url: string): EventStoreDbConnection {
    const connection = new EventStoreDbConnection(url, { deadlineMs: 3_000, patienceMs: 0 });
    connections.push(connection);
    return connection;
  }
  const start = (user?: string, log: Log = silentLog) => requireRights(connectionTo(node.urlOf(user)), log);
  const refuses = (user: string | undefined, message: RegExp) =>
    assert.rejects(start(user), (error) => {
      assert.ok(error instanceof StartupError);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  const readAll = (roles: unknown) => node.write('$$$all', '$metadata', { $acl: { $r: roles } });

  it('suffice with those that are documented, and nothing is written to find out', async () => {
    readAll(everyone);
    node.write('$settings', 'update-default-acl', { $userStreamAcl: allOf(everyone) });
    const { count } = node.server.store.log;
    await start('fieldlog:p');
    await checkEventStore(connectionTo(node.urlOf('fieldlog:p')));
    assert.equal(node.server.store.log.count, count);
  });

  it('suffice on a cluster whose followers are preferred', async () => {
    const cluster = await standIns.followers.start();
    const log = { ...silentLog, warn: () => assert.fail('the cluster is said to be away') };
    await requireRights(connectionTo(cluster.url), log);
    await checkEventStore(connectionTo(cluster.url));
    await cluster.stop();
  });

  it('end the start when $all may not be read, with the user, the right and how it is given', async () => {
    await refuses(
      'fieldlog:p',
      /^EVENTSTORE_URL: user "fieldlog" may not read \$all: .* "\$r" of "\$acl" in the metadata of \$all/,
    );
  });

  for (const [key, doing] of Object.entries({
    $r: 'read the streams of devices',
    $w: 'append to the streams of devices',
    $mr: 'read the metadata of the streams of devices',
    $mw: 'set the metadata of the streams of devices',
  }))
    it(`end the start when the user may not ${doing}`, async () => {
      readAll(everyone);
      const acl = { ...allOf(everyone), [key]: '$admins' };
      node.write('$settings', 'update-default-acl', { $userStreamAcl: acl });
      await refuses('fieldlog:p', new RegExp(`^EVENTSTORE_URL: user "fieldlog" may not ${doing}: .*"\\$mw"`));
    });

  it('end the start with a wrong password, and without a user', async () => {
    readAll(everyone);
    await refuses('fieldlog:wrong', /^EVENTSTORE_URL: user "fieldlog" is not known with this password/);
    await refuses(undefined, /^EVENTSTORE_URL names no user/);
    const { user } = new Failures('esdb://host:2113?userCertFile=a.pem&userKeyFile=b.pem');
    assert.equal(user, 'the user of userCertFile');
  });

  it('are looked at again with every check, which names what is missing', async () => {
    readAll(everyone);
    const connection = connectionTo(node.urlOf('fieldlog:p'));
    await checkEventStore(connection);
    readAll('$admins');
    await assert.rejects(checkEventStore(connection), {
      name: 'EventStoreUnavailable',
      reason: 'its user may not read $all',
    });
    readAll(everyone);
    node.server.store.rights.setUser('fieldlog', { password: 'rotated' });
    await assert.rejects(checkEventStore(connection), { reason: 'its user is not known with this password' });
    node.server.store.rights.setUser('fieldlog', { password: 'p' });
    await checkEventStore(connection);
  });

  describe('and a store that cannot be reached', () => {
    /** What the start logs, and what a check says. */
    async function faultOf(url: string): Promise<unknown> {
      const logged: unknown[] = [];
      await requireRights(connectionTo(url), {
        ...silentLog,
        warn: ({ reason }) => void logged.push(reason),
      });
      const error = await checkEventStore(connectionTo(url)).then(
        () => assert.fail('the check passed'),
        (thrown) => thrown,
      );
      assert.ok(error instanceof EventStoreUnavailable);
      assert.equal(logged.length, 1);
      if (error.reason !== undefined) assert.deepEqual(logged, [error.reason]);
      return error.reason;
    }

    it('names a certificate that is not trusted', async () => {
      const url = node.server.urlOf('fieldlog:p');
      assert.match(
        String(await faultOf(url)),
        /^its certificate is not trusted: DEPTH_ZERO_SELF_SIGNED_CERT .*tlsCAFile/,
      );
    });

    it('names a port that does not speak TLS', async () => {
      const plain = await EventStoreDbDouble.start();
      try {
        const url = `esdb://localhost:${plain.endpoint().port}?tls=true`;
        assert.match(String(await faultOf(url)), /^its port does not speak TLS.*tls=false/);
      } finally {
        await plain.stop();
      }
    });

    it('names a port that speaks TLS, when asked without', async () => {
      const url = node.server.url.replace('tls=true', 'tls=false');
      assert.equal(await faultOf(url), 'its port speaks TLS, but the URL says tls=false');
    });

    it('has nothing to name when nobody listens, or nobody answers', async () => {
      await node.server.kill();
      assert.equal(await faultOf(node.urlOf('fieldlog:p')), undefined);
      assert.equal(await faultOf(node.server.url.replace('tls=true', 'tls=false')), undefined);
    });
  });
});
