import { deviceQueriesContract } from '../../contracts/device-queries.contract.ts';
import { progressQueriesContract } from '../../contracts/progress-queries.contract.ts';
import { telemetryQueriesContract } from '../../contracts/telemetry-queries.contract.ts';
import { readModelFixture } from '../../support/read-model-fixture.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';
import { ownDatabase } from './own-database.ts';

onMariadbAndMysql('Queries over MysqlSql', (url) => {
  const open = async () => {
    const database = await ownDatabase(url);
    const { db, close } = await openMysql(database.url);
    return {
      fixture: await readModelFixture(db),
      async close() {
        await close();
        await database.drop();
      },
    };
  };

  for (const contract of [deviceQueriesContract, telemetryQueriesContract, progressQueriesContract])
    contract('MysqlSql', open);
});
