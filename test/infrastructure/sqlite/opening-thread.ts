import { workerData } from 'node:worker_threads';
import { SqliteEventStore } from '../../../infrastructure/sqlite/event-store.ts';

await new SqliteEventStore(workerData as string).close();
