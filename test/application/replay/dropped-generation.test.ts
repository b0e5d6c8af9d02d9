import assert from 'node:assert/strict';
import { type ReplayFixture, replayFixture } from '../../support/replay-fixture.ts';

describe('A generation whose drop was cut short', () => {
  let fixture: ReplayFixture;

  before(async () => {
    fixture = await replayFixture();
  });

  after(() => fixture.close());

  it('leaves nothing to the next one of its number', async () => {
    const { db, ports } = fixture;
    const builder = { id: 'a builder', isExpired: () => false };
    const request = { projection: 'devices', version: 1, device: null };
    const { generation } = await ports.control.claim(request, builder);
    const labels = `device_labels_g${generation}`;
    await db.run(`INSERT INTO ${labels} (device_id, label, value) VALUES ('a', 'b', 'c')`);
    // As it is when the process ends between forgetting the generation and dropping its tables.
    await db.run('DELETE FROM generations WHERE projection = ? AND generation = ?', ['devices', generation]);
    const next = await ports.control.claim(request, builder);
    assert.deepEqual(next, { generation, resumed: false });
    assert.deepEqual(await db.all(`SELECT * FROM ${labels}`), []);
  });
});
