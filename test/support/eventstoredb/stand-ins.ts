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

/** The ways in which a company runs EventStoreDB, each of which every contract is to be honoured on. */
export const standIns: Readonly<Record<string, () => Promise<StandIn>>> = {
  'a node': () => EventStoreDbDouble.start(),
  'a cluster whose followers lag': () => EventStoreDbCluster.start({ lagMs }),
  'a cluster whose followers lag and are preferred': followersPreferred,
  'a node with a user of few rights': restrictedNode,
};

async function followersPreferred(): Promise<StandIn> {
  const cluster = await EventStoreDbCluster.start({ lagMs });
  return { url: cluster.urlWith({ nodePreference: 'follower' }), stop: () => cluster.stop() };
}

/**
 * A server with TLS where the user may append to and read all streams but the system's, set their metadata, and read
 * `$all`; nothing else, and others may do nothing.
 */
async function restrictedNode(): Promise<StandIn> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fieldlog-ca-'));
  const caFile = path.join(folder, 'ca.pem');
  const certificate = selfSigned();
  writeFileSync(caFile, certificate.cert);
  const server = await EventStoreDbDouble.start({ certificate });
  const { rights } = server.store;
  rights.setUser('admin', { password: 'changeit', groups: ['$admins'] });
  rights.setUser('fieldlog', { password: 'p' });
  const roles = ['$admins', 'fieldlog'];
  const write = (stream: string, type: string, json: object) =>
    server.store.append(stream, 'any', [
      {
        id: '00000000-0000-4000-8000-000000000000',
        type,
        contentType: 'application/json',
        data: Buffer.from(JSON.stringify(json)),
        metadata: new Uint8Array(),
      },
    ]);
  write('$settings', 'update-default-acl', {
    $userStreamAcl: { $r: roles, $w: roles, $d: '$admins', $mr: roles, $mw: roles },
  });
  write('$$$all', '$metadata', { $acl: { $r: roles } });
  return {
    url: `${server.urlOf('fieldlog:p')}&tlsCAFile=${encodeURIComponent(caFile)}`,
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true });
    },
  };
}
