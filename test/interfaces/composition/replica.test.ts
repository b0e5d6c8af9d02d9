import assert from 'node:assert/strict';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { migrateReadModels } from '../../../infrastructure/sql/schema.ts';
import { openContainer } from '../../../interfaces/composition/container.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { openMysql } from '../../infrastructure/mysql/open-mysql.ts';
import { ownDatabase } from '../../infrastructure/mysql/own-database.ts';
import { temporaryDirectory } from '../../infrastructure/sqlite/temporary-directory.ts';
import { onMariadbAndMysql } from '../../support/servers.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

onMariadbAndMysql('With MYSQL_REPLICA_URL', (url) => {
  // Two servers to Fieldlog; what has not been copied to the second tells which of them was asked.
  let primary: Awaited<ReturnType<typeof ownDatabase>>;
  let replica: typeof primary;
  let replicaRows: Awaited<ReturnType<typeof openMysql>>;
  let container: Awaited<ReturnType<typeof openContainer>>;
  const folder = temporaryDirectory();

  before(async () => {
    [primary, replica] = [await ownDatabase(url), await ownDatabase(url)];
    replicaRows = await openMysql(replica.url, { connections: 1 });
    await migrateReadModels(replicaRows.db, 0);
    container = await openContainer(
      configFrom({ DATA_DIR: folder.path, MYSQL_URL: primary.url, MYSQL_REPLICA_URL: replica.url }),
      quiet,
    );
  });
  after(async () => {
    await container?.unbindAllAsync();
    await replicaRows?.close();
    await replica?.drop();
    await primary?.drop();
    folder.remove();
  });

  it('queries read the replica, how far it has come included, and all else the primary', async () => {
    const readModels = await container.getAsync(s.readModels);
    const generation = { projection: 'devices', generation: 1 };
    await readModels.transact(generation, 0, async () => '7');
    assert.equal(await readModels.checkpoint(generation, 0), '7');
    const progress = await container.getAsync(s.progressQueries);
    const checkpoints = async () =>
      (await progress.progress()).find(({ projection }) => projection === 'devices')?.checkpoints;
    assert.deepEqual(await checkpoints(), []);

    await replicaRows.db.write(
      'replace',
      'checkpoints',
      ['projection', 'generation', 'part', 'position', 'epoch', 'updated_at'],
      [['devices', 1, 0, '5', 0, 0]],
    );
    assert.deepEqual(await checkpoints(), [{ partition: 0, position: '5' }]);
  });

  it('tells of the connections to either', async () => {
    const names = (await container.getAllAsync(s.connections)).map(({ name }) => name);
    assert.deepEqual(names.toSorted(), ['readModels', 'replica']);
  });
});
