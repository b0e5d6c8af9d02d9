import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sqlEventPlaces } from '../../../infrastructure/sql/event-places.ts';
import { sqlReadModels, sqlReadModelsWithin } from '../../../infrastructure/sql/read-models.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import type { Sql } from '../../../infrastructure/sql/sql.ts';
import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { eventPlacesContract } from '../../contracts/event-places.contract.ts';
import { readModelsContract } from '../../contracts/read-models.contract.ts';

const clock = { now: () => 0 };

async function openDatabase() {
  const folder = await mkdtemp(join(tmpdir(), 'fieldlog-read-models-'));
  const db = new SqliteSql(join(folder, 'read-models.db'));
  await migrateReadModels(db, 0);
  return {
    db,
    async close() {
      await db.close();
      await rm(folder, { recursive: true });
    },
  };
}

readModelsContract('SQLite', async () => {
  const { db, close } = await openDatabase();
  return { readModels: sqlReadModels(db, clock), sql: db, close };
});

readModelsContract('SQLite inside a transaction', async () => {
  const { db, close } = await openDatabase();
  const begun = Promise.withResolvers<Sql>();
  const ended = Promise.withResolvers<void>();
  const transaction = db.transaction(async (tx) => {
    begun.resolve(tx);
    await ended.promise;
  });
  const tx = await begun.promise;
  return {
    readModels: sqlReadModelsWithin(tx, clock),
    sql: tx,
    async close() {
      ended.resolve();
      await transaction;
      await close();
    },
  };
});

eventPlacesContract('SQLite', async () => {
  const { db, close } = await openDatabase();
  return { places: sqlEventPlaces(db, clock), close };
});
