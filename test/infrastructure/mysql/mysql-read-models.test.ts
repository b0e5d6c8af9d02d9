import { sqlEventPlaces } from '../../../infrastructure/sql/event-places.ts';
import { sqlReadModels } from '../../../infrastructure/sql/read-models.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { eventPlacesContract } from '../../contracts/event-places.contract.ts';
import { readModelsContract } from '../../contracts/read-models.contract.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

const clock = { now: () => 0 };

onMariadbAndMysql('Read models over MysqlSql', (url) => {
  async function openDatabase() {
    const database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url);
    await migrateReadModels(db, 0);
    return {
      db,
      async close() {
        await close();
        await database.drop();
      },
    };
  }

  readModelsContract('MysqlSql', async () => {
    const { db, close } = await openDatabase();
    return { readModels: sqlReadModels(db, clock), sql: db, close };
  });

  eventPlacesContract('MysqlSql', async () => {
    const { db, close } = await openDatabase();
    return { places: sqlEventPlaces(db, clock), close };
  });
});
