import assert from 'node:assert/strict';
import type { AuditOutcomes } from '../../application/ports/audit.ts';
import type { Opened } from './opened.ts';

/** What every AuditOutcomes must do; `open` gives one that has kept nothing. */
export function auditOutcomesContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly audits: AuditOutcomes }>>,
) {
  describe(`${adapter} honours AuditOutcomes`, function () {
    this.timeout(60_000);

    it('tells the last outcome, and of none before there is one', async () => {
      const { audits, close } = await open();
      try {
        assert.equal(await audits.last(), undefined);
        await audits.save({ at: 1_774_746_000_001, differences: 3 });
        assert.deepEqual({ ...(await audits.last()) }, { at: 1_774_746_000_001, differences: 3 });
        await audits.save({ at: 1_774_746_000_002, differences: 0 });
        assert.deepEqual({ ...(await audits.last()) }, { at: 1_774_746_000_002, differences: 0 });
      } finally {
        await close();
      }
    });
  });
}
