import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { selfSigned } from '../self-signed.ts';
import { EventStoreDbCluster } from './cluster.ts';
import { EventStoreDbDouble } from './eventstoredb-double.ts';

export type StandIn = {
  /** Connection string. */
  readonly url: string;
  stop(): Promise<void>;
};

const lagMs = 200;

export type StandInName = 'node' | 'cluster' | 'followers' | 'restricted';

/** The ways in which a company runs EventStoreDB, each of which every contract is to be honoured on. */
export const standIns: Readonly<Record<StandInName, { readonly title: string; start(): Promise<StandIn> }>> =
  {
    node: { title: 'a node', start: () => EventStoreDbDouble.start() },
    cluster: {
      title: 'a cluster whose followers lag',
      start: () => EventStoreDbCluster.start({ lagMs }),
    },
    followers: { title: 'a cluster whose followers lag and are preferred', start: followersPreferred },
    restricted: { title: 'a node with a user of few rights', start: restrictedNode },
  };

async function followersPreferred(): Promise<StandIn> {
  const cluster = await EventStoreDbCluster.start({ lagMs });
  return { url: cluster.urlWith({ nodePreference: 'follower' }), stop: () => cluster.stop() };
}

export type SecureNode = {
  readonly server: EventStoreDbDouble;
  /** Connection string for a user's `name:password`, percent-encoded, that trusts the server's certificate. */
  urlOf(user?: string): string;
  /** What an administrator writes. */
  write(stream: string, type: string, json: object): void;
  stop(): Promise<void>;
};

/** A server with TLS, an administrator `admin:changeit` and the user `fieldlog:p`, who belongs to no group. */
export async function secureNode(): Promise<SecureNode> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-ca-'));
  const caFile = path.join(folder, 'ca.pem');
  const certificate = selfSigned();
  writeFileSync(caFile, certificate.cert);
  const server = await EventStoreDbDouble.start({ certificate });
  const { rights } = server.store;
  rights.setUser('admin', { password: 'changeit', groups: ['$admins'] });
  rights.setUser('fieldlog', { password: 'p' });
  return {
    server,
    urlOf: (user) => `${server.urlOf(user)}&tlsCAFile=${encodeURIComponent(caFile)}`,
    write(stream, type, json) {
      const data = Buffer.from(JSON.stringify(json));
      const event = { type, contentType: 'application/json', data, metadata: new Uint8Array() };
      server.store.append(stream, 'any', [{ ...event, id: randomUUID() }]);
    },
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

/**
 * Where the user may append to and read all streams but the system's, read and set their metadata, and read `$all`;
 * nothing else, and others may do nothing.
 */
async function restrictedNode(): Promise<StandIn> {
  const node = await secureNode();
  const roles = ['$admins', 'fieldlog'];
  node.write('$settings', 'update-default-acl', {
    $userStreamAcl: { $r: roles, $w: roles, $d: '$admins', $mr: roles, $mw: roles },
  });
  node.write('$$$all', '$metadata', { $acl: { $r: roles } });
  return { url: node.urlOf('fieldlog:p'), stop: () => node.stop() };
}
