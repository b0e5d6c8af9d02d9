import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { onMariadbAndMysql } from '../support/servers.ts';
import { root } from './yaml-file.ts';

// Under CI alone: a developer's system may have another MariaDB.
if (process.env.CI)
  onMariadbAndMysql('README.md', (url, name) => {
    it('names the version that CI runs', async () => {
      const connection = await createConnection(url);
      const [[row]] = await connection
        .query<RowDataPacket[]>('SELECT VERSION() AS version')
        .finally(() => connection.end());
      const [series] = String(row?.version).match(/^\d+\.\d+/) ?? [];
      const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
      assert.ok(readme.includes(`${name} ${series}`), `README.md does not say ${name} ${series}`);
    });
  });
