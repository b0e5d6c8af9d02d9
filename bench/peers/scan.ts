import { DatabaseSync } from 'node:sqlite';
import { serveCalls } from '../harness/peer.ts';

export type Scan = typeof calls;
const calls = { scan };
serveCalls(calls);

/** Every event of an event store's file into JavaScript, its documents parsed: events a second. */
function scan({ file }: { file: string }): number {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
  const page = db.prepare(
    'SELECT position, stream, revision, id, type, data, metadata FROM events WHERE position > ? ORDER BY position LIMIT 1000',
  );
  page.setReturnArrays(true);
  const began = performance.now();
  let events = 0;
  for (let last = 0; ; ) {
    const rows = page.all(last) as unknown as [number, string, number, string, string, string, string][];
    for (const [position, , , , , data, metadata] of rows) {
      last = position;
      JSON.parse(data);
      JSON.parse(metadata);
    }
    if (rows.length === 0) break;
    events += rows.length;
  }
  const seconds = (performance.now() - began) / 1000;
  db.close();
  return events / seconds;
}
