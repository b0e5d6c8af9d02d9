import { EventStoreDbDouble } from '../../test/support/eventstoredb/eventstoredb-double.ts';

/** The tests' stand-in for EventStoreDB, alone in a process: the same server for both sides of a ratio. */
const double = await EventStoreDbDouble.start();
console.log(double.url);
process.on('SIGTERM', () => process.exit(0));
