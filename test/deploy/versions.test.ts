import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { onMariadbAndMysql } from '../support/servers.ts';
import { root } from './yaml-file.ts';

const textOf = (file: string) => readFileSync(path.join(root, file), 'utf8');

describe('README.md and docker-compose.yml', () => {
  it('name the Kafka that CI runs', () => {
    const [, version] =
      /<artifactId>kafka_[^<]*<\/artifactId>\s*<version>([^<]+)/.exec(textOf('deploy/local/kafka/pom.xml')) ??
      [];
    assert.ok(textOf('README.md').includes(`Apache Kafka ${version},`), version);
    assert.ok(textOf('docker-compose.yml').includes(`image: apache/kafka:${version}\n`), version);
  });
});

// Under CI alone: a developer's system may have another MariaDB.
if (process.env.CI)
  onMariadbAndMysql('README.md', (url, name) => {
    it('names the version that CI runs', async () => {
      const connection = await createConnection(url);
      const [[row]] = await connection
        .query<RowDataPacket[]>('SELECT VERSION() AS version')
        .finally(() => connection.end());
      const [series] = String(row?.version).match(/^\d+\.\d+/) ?? [];
      assert.ok(
        textOf('README.md').includes(`${name} ${series}`),
        `README.md does not say ${name} ${series}`,
      );
    });
  });
