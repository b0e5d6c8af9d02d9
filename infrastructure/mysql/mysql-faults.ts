/**
 * What an error says of the transaction it came up in: `rolled-back`, the server has ended it and taken it back;
 * `lost`, the connection is of no more use and what became of its last statement, a COMMIT included, is unknown;
 * `none`, the statement was wrong or refused.
 */
export type Fault = 'rolled-back' | 'lost' | 'none';

const faults: ReadonlyMap<number, Fault> = new Map([
  [1205, 'rolled-back'], // lock wait timeout
  [1213, 'rolled-back'], // deadlock
  [1047, 'lost'], // a Galera node that is not in the cluster
  [1053, 'lost'], // shutdown in progress
  [1290, 'lost'], // read-only: what was the primary before a failover
  [1836, 'lost'], // the same, from a server put into read-only mode
  [1317, 'lost'], // statement interrupted, as a shutdown does
  [1927, 'lost'], // MariaDB: connection killed
  [3169, 'lost'], // MySQL: session killed
  [4031, 'lost'], // MySQL: disconnected for being idle
]);

/** `fatal` is how the driver marks every error that ended a connection, and we one that has to be ended. */
export function faultOf(error: unknown): Fault {
  if (!(error instanceof Error)) return 'none';
  const { errno, fatal } = error as { errno?: number; fatal?: boolean };
  if (fatal) return 'lost';
  return faults.get(errno ?? 0) ?? 'none';
}

/** Whether the server or the account may not run LOAD DATA LOCAL, in the words of MariaDB, MySQL and old releases. */
export const refusesLocalInfile = (error: unknown): boolean =>
  error instanceof Error && [4166, 3948, 1148].includes((error as { errno?: number }).errno ?? 0);
