import { SqliteSql } from '../../../infrastructure/sqlite/database.ts';
import { schemaUpgradeContract } from '../../contracts/schema-upgrade.contract.ts';
import { reopenable } from './reopenable.ts';

schemaUpgradeContract('A SQLite file', () =>
  reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) })),
);
