import { sqlContract } from '../../contracts/sql.contract.ts';
import { needs } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';

needs('MYSQL_URL', 'MysqlSql', (url) => {
  sqlContract('MysqlSql', () => openMysql(url));
  sqlContract('MysqlSql without LOAD DATA LOCAL', () => openMysql(url, { localInfile: false }));
});
