import type { AccessMarker } from '../../application/ports/api-keys.ts';
import {
  type EventStore,
  type ExpectedRevision,
  isStreamLost,
  RevisionConflict,
} from '../../application/ports/event-store.ts';
import type { Clock, Ids } from '../../application/ports/system.ts';

/** No device's: those that read device events never come to it. */
const accessStream = 'fieldlog-access';

const revokedType = 'ApiKeyRevoked';

/** Others append at the same time only where keys are revoked at the same moment. */
const tries = 10;

/**
 * An AccessMarker as a stream: its first event closes access, and each key that is revoked has one. Deleted for good, or
 * hidden whole, it closes access as well, and no more is recorded there: of keys that are revoked the table of keys says so.
 */
export function eventStoreDbAccessMarker(
  eventStore: Pick<EventStore, 'read' | 'append'>,
  ids: Ids,
  clock: Clock,
): AccessMarker {
  return {
    isAccessClosed: async () => (await recorded()).revision !== 'none',

    async closeAccess() {
      try {
        await append('AccessClosed', [{}], 'none');
      } catch (error) {
        // It was closed before.
        if (!(error instanceof RevisionConflict || isStreamLost(error))) throw error;
      }
    },

    revokedNames: async () => (await recorded()).names,

    async recordRevoked(names) {
      for (let left = tries; ; left -= 1) {
        const before = await recorded();
        const missing = names.filter((name) => !before.names.has(name));
        if (missing.length === 0 || before.revision === 'lost') return;
        try {
          const data = missing.map((name) => ({ name }));
          await append(revokedType, data, before.revision);
          return;
        } catch (error) {
          if (!(error instanceof RevisionConflict) || left === 0) throw error;
        }
      }
    },
  };

  async function recorded(): Promise<Recorded> {
    try {
      const events = await eventStore.read(accessStream);
      const revoked = events.filter(({ type }) => type === revokedType);
      return {
        revision: events.at(-1)?.revision ?? 'none',
        names: new Set(revoked.map(({ data }) => (data as { name: string }).name)),
      };
    } catch (error) {
      if (!isStreamLost(error)) throw error;
      return { revision: 'lost', names: new Set() };
    }
  }

  async function append(type: string, data: readonly object[], expected: ExpectedRevision): Promise<void> {
    const events = data.map((one) => {
      const id = ids.uuidV7();
      const metadata = {
        $correlationId: id,
        $causationId: id,
        actor: 'fieldlog',
        recordedAt: new Date(clock.now()).toISOString(),
        schemaVersion: 1,
      };
      return { id, type, data: one, metadata };
    });
    await eventStore.append(accessStream, events, expected, 'unused');
  }
}

/** The revision is the last event's. */
type Recorded = { readonly revision: ExpectedRevision | 'lost'; readonly names: ReadonlySet<string> };
