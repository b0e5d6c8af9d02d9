import { randomUUID } from 'node:crypto';
import { ownDatabase } from '../infrastructure/mysql/own-database.ts';
import { type StandInName, standIns } from './eventstoredb/stand-ins.ts';

export type DistributedStores = {
  /** The configuration that chooses them, with a database, a topic and a group that nothing else uses. */
  readonly env: Readonly<Record<string, string>>;
  readonly mysqlUrl: string;
  /** Removes the database and ends the event store. */
  close(): Promise<void>;
};

/**
 * Every store of the distributed profile: real Kafka, real MariaDB or MySQL, and EventStoreDB's protocol in this
 * process, as EVENTSTORE_STAND_IN names it.
 */
export async function distributedStores(brokers: string, mysqlUrl: string): Promise<DistributedStores> {
  const name = randomUUID().slice(0, 8);
  const database = await ownDatabase(mysqlUrl);
  const { EVENTSTORE_STAND_IN: wanted = standInBeside(mysqlUrl) } = process.env;
  const events = await standIns[wanted as StandInName].start();
  return {
    mysqlUrl: database.url,
    env: {
      EVENTSTORE_URL: events.url,
      KAFKA_BROKERS: brokers,
      MYSQL_URL: database.url,
      KAFKA_TOPIC: `test-${name}`,
      KAFKA_GROUP: `test-${name}`,
      KAFKA_PARTITIONS: '12',
    },
    async close() {
      await events.stop();
      await database.drop();
    },
  };
}

/** A suite that runs on both databases meets a cluster and a user of few rights; one with a server of its own, a node. */
function standInBeside(mysqlUrl: string): StandInName {
  const { LOCAL_MARIADB_URL, LOCAL_MYSQL_URL } = process.env;
  if (mysqlUrl === LOCAL_MARIADB_URL) return 'cluster';
  return mysqlUrl === LOCAL_MYSQL_URL ? 'restricted' : 'node';
}
