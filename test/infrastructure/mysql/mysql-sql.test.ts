import { sqlContract } from '../../contracts/sql.contract.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';
import { openMysql } from './open-mysql.ts';

onMariadbAndMysql('MysqlSql', (url) => {
  sqlContract('MysqlSql', () => openMysql(url));
  sqlContract('MysqlSql without LOAD DATA LOCAL', () => openMysql(url, { localInfile: false }));
});
