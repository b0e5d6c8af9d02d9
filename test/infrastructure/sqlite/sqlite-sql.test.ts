import { SqliteSql } from '../../../infrastructure/sqlite/sqlite-sql.ts';
import { sqlContract } from '../../contracts/sql.contract.ts';
import { reopenable } from './reopenable.ts';

sqlContract('SqliteSql', () => reopenable(({ readModels }) => ({ db: new SqliteSql(readModels) })));
