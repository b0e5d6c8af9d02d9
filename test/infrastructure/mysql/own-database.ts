import { randomUUID } from 'node:crypto';
import { openMysql } from './open-mysql.ts';

/** The URL of a new database on the server of `url`, and how to get rid of it. */
export async function ownDatabase(url: string): Promise<{ readonly url: string; drop(): Promise<void> }> {
  const server = await openMysql(url, { connections: 1 });
  const own = new URL(url);
  own.pathname += `_${randomUUID().replaceAll('-', '')}`;
  const name = own.pathname.slice(1);
  await server.db.run(`CREATE DATABASE ${name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`);
  return {
    url: own.href,
    async drop() {
      await server.db.run(`DROP DATABASE ${name}`);
      await server.close();
    },
  };
}
