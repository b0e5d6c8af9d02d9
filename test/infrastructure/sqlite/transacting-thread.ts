import { parentPort, workerData } from 'node:worker_threads';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';

/** Counts up a hundred times, then holds a transaction until its thread is ended. */
const db = new SqliteSql(workerData as string);
for (let n = 0; n < 100; n += 1) await db.run('UPDATE counter SET n = n + 1');
await db.transaction(async (tx) => {
  await tx.run('UPDATE counter SET n = -1');
  parentPort?.postMessage('held');
  await new Promise(() => {
    setInterval(() => undefined, 1000);
  });
});
