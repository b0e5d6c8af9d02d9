import type { AccessMarker } from '../../application/ports/api-keys.ts';
import { type EventStore, RevisionConflict } from '../../application/ports/event-store.ts';
import type { Clock, Ids } from '../../application/ports/system.ts';

/** No device's: those that read device events never come to it. */
const accessStream = 'fieldlog-access';

/** An AccessMarker as the one event of a stream. */
export const eventStoreDbAccessMarker = (
  eventStore: Pick<EventStore, 'read' | 'append'>,
  ids: Ids,
  clock: Clock,
): AccessMarker => ({
  isAccessClosed: async () => (await eventStore.read(accessStream)).length > 0,

  async closeAccess() {
    const id = ids.uuidV7();
    const metadata = {
      $correlationId: id,
      $causationId: id,
      actor: 'fieldlog',
      recordedAt: new Date(clock.now()).toISOString(),
      schemaVersion: 1,
    };
    try {
      await eventStore.append(
        accessStream,
        [{ id, type: 'AccessClosed', data: {}, metadata }],
        'none',
        'unused',
      );
    } catch (error) {
      // It was closed before.
      if (!(error instanceof RevisionConflict)) throw error;
    }
  },
});
