import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { bin } from '../../support/fieldlog-process.ts';

describe('fieldlog migrate', function () {
  this.timeout(60_000);
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fieldlog-migrate-'));
  });
  after(() => rm(folder, { recursive: true }));

  const migrate = () =>
    spawnSync(process.execPath, [bin, 'migrate'], {
      encoding: 'utf8',
      env: { ...process.env, DATA_DIR: folder, EVENTSTORE_URL: '', KAFKA_BROKERS: '', MYSQL_URL: '' },
    });

  it('prepares the stores, and ends; again, it changes nothing', () => {
    const file = path.join(folder, 'read-models.db');
    const first = migrate();
    assert.deepEqual({ status: first.status, stderr: first.stderr }, { status: 0, stderr: '' });
    assert.equal(first.stdout, `The stores are ready for this release: data in ${folder}\n`);
    assert.ok(existsSync(file), file);
    const before = migrations(file);
    assert.ok(before.length > 0);
    assert.equal(migrate().status, 0);
    assert.deepEqual(migrations(file), before);
  });

  it('refuses what a newer release has written, and leaves it as it is', () => {
    const file = path.join(folder, 'read-models.db');
    using db = new DatabaseSync(file);
    db.exec('INSERT INTO schema_migrations (version, applied_at) VALUES (999, 0)');
    const { status, stderr } = migrate();
    assert.equal(status, 2);
    assert.match(stderr, /^fieldlog: .*999.*\n$/);
  });
});

function migrations(file: string): unknown[] {
  using db = new DatabaseSync(file, { readOnly: true });
  return db.prepare('SELECT version, applied_at FROM schema_migrations').all();
}
