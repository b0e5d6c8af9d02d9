import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { selfSigned } from '../../support/self-signed.ts';
import { needs, onMariadbAndMysql } from '../../support/servers.ts';
import { eachTestsTable, openMysql } from './open-mysql.ts';

needs('LOCAL_CA_FILE', 'MysqlSql', (caFile) =>
  onMariadbAndMysql('by TLS', (url) => {
    const named = new URL(url);
    named.hostname = 'localhost';
    let opened: Awaited<ReturnType<typeof openMysql>>;

    before(async () => {
      opened = await openMysql(named.href, { tls: { ca: readFileSync(caFile, 'utf8') } });
    });
    after(() => opened.close());
    const table = eachTestsTable(() => opened.db, 'id INT PRIMARY KEY, text VARCHAR(100) NOT NULL');

    it('says nothing in the open, and writes in bulk as ever', async () => {
      const [cipher] = await opened.db.all<{ Value: string }>("SHOW SESSION STATUS LIKE 'Ssl_cipher'");
      assert.match(cipher?.Value ?? '', /^TLS_|AES|CHACHA/);
      const rows = Array.from({ length: 5000 }, (_, id) => [id, `text ${id}`]);
      await opened.db.write('insert', table(), ['id', 'text'], rows);
      const [count] = await opened.db.all<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table()}`);
      assert.equal(count?.n, 5000);
    });

    it('is not spoken to when its certificate stems from somebody else', async () => {
      const other = await openMysql(named.href, { tls: { ca: selfSigned().cert } });
      await assert.rejects(other.db.all('SELECT 1'), {
        name: 'ReadModelsUnavailable',
        message: /certificate/,
      });
      await other.close();
    });
  }),
);
