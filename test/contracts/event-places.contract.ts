import assert from 'node:assert/strict';
import type { EventPlaces } from '../../application/ports/event-places.ts';
import type { Opened } from './opened.ts';

const place = (n: number) => ({ position: `${n}-${n}`, eventId: `e${n}` });

/** What every engine does that keeps where events are. */
export function eventPlacesContract(
  adapter: string,
  open: () => Promise<Opened<{ readonly places: EventPlaces }>>,
): void {
  it(`${adapter} keeps where the events of each kind of stream are, as they were stored last`, async () => {
    const { places, close } = await open();
    try {
      assert.equal(await places.load('rule-'), undefined);
      await places.store('rule-', { events: [], upTo: place(7) });
      assert.deepEqual(await places.load('rule-'), { events: [], upTo: place(7) });
      // As much as is stored at most, and a row of its own for each kind.
      const many = Array.from({ length: 10_000 }, (_, n) => ({
        position: `18446744073709${n}-18446744073709${n}`,
        eventId: '01890a5d-ac96-774b-bcce-b302099a8057',
      }));
      await places.store('rule-', { events: many, upTo: place(9) });
      await places.store('hook-', { events: [place(1)], upTo: place(8) });
      assert.deepEqual(await places.load('rule-'), { events: many, upTo: place(9) });
      assert.deepEqual(await places.load('hook-'), { events: [place(1)], upTo: place(8) });
    } finally {
      await close();
    }
  });
}
