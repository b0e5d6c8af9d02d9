import assert from 'node:assert/strict';
import type { AccessMarker } from '../../application/ports/api-keys.ts';

/** What every AccessMarker must do; `open` gives one over a store without any mark, and another over the same. */
export function accessMarkerContract(
  adapter: string,
  open: () => Promise<{ readonly one: AccessMarker; readonly other: AccessMarker; close(): Promise<void> }>,
): void {
  describe(`${adapter} honours AccessMarker`, function () {
    this.timeout(60_000);

    it('is closed for everybody from the first call on, and for good', async () => {
      const { one, other, close } = await open();
      try {
        assert.deepEqual([await one.isAccessClosed(), await other.isAccessClosed()], [false, false]);
        await Promise.all([one.closeAccess(), other.closeAccess()]);
        assert.deepEqual([await one.isAccessClosed(), await other.isAccessClosed()], [true, true]);
        await one.closeAccess();
        assert.equal(await other.isAccessClosed(), true);
      } finally {
        await close();
      }
    });

    it('has the names of revoked keys for everybody, each once', async () => {
      const { one, other, close } = await open();
      try {
        assert.deepEqual([...(await one.revokedNames())], []);
        await one.closeAccess();
        await Promise.all([one.recordRevoked(['a', 'b']), other.recordRevoked(['b', 'c'])]);
        await one.recordRevoked([]);
        await one.recordRevoked(['a']);
        for (const marker of [one, other])
          assert.deepEqual([...(await marker.revokedNames())].sort(), ['a', 'b', 'c']);
        assert.equal(await other.isAccessClosed(), true);
      } finally {
        await close();
      }
    });
  });
}
