import { randomUUID } from 'node:crypto';
import { openMysql } from './open-mysql.ts';

/** The URL of a new database on the server of `url`, with a name of that many letters at least, and how to get rid of it. */
export async function ownDatabase(
  url: string,
  length = 0,
): Promise<{ readonly url: string; drop(): Promise<void> }> {
  const server = await openMysql(url, { connections: 1 });
  const own = new URL(url);
  const name = `${own.pathname.slice(1)}_${randomUUID().replaceAll('-', '')}`.padEnd(length, '_');
  own.pathname = name;
  await server.db.run(`CREATE DATABASE ${name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`);
  return {
    url: own.href,
    async drop() {
      await server.db.run(`DROP DATABASE ${name}`);
      await server.close();
    },
  };
}
