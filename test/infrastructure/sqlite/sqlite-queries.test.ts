import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { deviceQueriesContract } from '../../contracts/device-queries.contract.ts';
import { progressQueriesContract } from '../../contracts/progress-queries.contract.ts';
import { telemetryQueriesContract } from '../../contracts/telemetry-queries.contract.ts';
import { readModelFixture } from '../../support/read-model-fixture.ts';
import { reopenable } from './reopenable.ts';

const open = async () => {
  const opened = await reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) }));
  return { fixture: await readModelFixture(opened.db), close: opened.close };
};

for (const contract of [deviceQueriesContract, telemetryQueriesContract, progressQueriesContract])
  contract('SqliteSql', open);
