import type { EventPlaces } from '../../application/ports/event-places.ts';
import type { EventPlace } from '../../application/ports/event-source.ts';
import type { Clock } from '../../application/ports/system.ts';
import { createTable } from './ddl.ts';
import type { Sql, SqlDatabase } from './sql.ts';

/** One row for each kind of stream, so that its places and how far they go change together. */
export const eventPlacesTable = (dialect: Sql['dialect']): string =>
  createTable(dialect, 'event_places', [
    'streams VARCHAR(64) NOT NULL PRIMARY KEY',
    'up_to VARCHAR(64) NOT NULL',
    'up_to_event VARCHAR(160) NOT NULL',
    'places MEDIUMTEXT NOT NULL',
    'updated_at BIGINT NOT NULL',
  ]);

const columns = ['streams', 'up_to', 'up_to_event', 'places', 'updated_at'];

/** Position and id, in the order of the log. */
type PlacesDocument = readonly (readonly [string, string])[];

export function sqlEventPlaces(db: SqlDatabase, clock: Clock): EventPlaces {
  return {
    async load(streams) {
      const [row] = await db.rows<[string, string, string]>(
        'SELECT up_to, up_to_event, places FROM event_places WHERE streams = ?',
        [streams],
      );
      if (!row) return undefined;
      const [position, eventId, places] = row;
      const events = (JSON.parse(places) as PlacesDocument).map(
        ([at, id]): EventPlace => ({ position: at, eventId: id }),
      );
      return { events, upTo: { position, eventId } };
    },

    async store(streams, { events, upTo }) {
      const places: PlacesDocument = events.map(({ position, eventId }) => [position, eventId]);
      await db.write('replace', 'event_places', columns, [
        [streams, upTo.position, upTo.eventId, JSON.stringify(places), clock.now()],
      ]);
    },
  };
}
