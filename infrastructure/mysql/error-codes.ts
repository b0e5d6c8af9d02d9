/**
 * What an error says of the transaction it came up in: `rolled-back`, the server has ended it and taken it back, and
 * it may be run again; `lost`, the connection is unusable and the outcome of its last statement, a COMMIT included, is
 * unknown; `outage`, the server cannot do it now, whatever the values are; `value`, it refuses a value; `none`, the
 * statement was wrong, or nobody knows.
 */
export type TransactionFault = 'rolled-back' | 'lost' | 'outage' | 'value' | 'none';

/** By error number, of MySQL unless it says MariaDB, where the SQLSTATE does not say enough or says otherwise. */
const codes = {
  'rolled-back': [
    1020, // MariaDB: the record has changed since it was read
    1205, // lock wait timeout
    1206, // the locks of the transaction are too many
    1213, // deadlock
    1613, // transaction took too long
    1614, // deadlock, of a distributed transaction
    1689, // the wait for a lock was aborted
    3101, // group replication: another member's transaction came first
  ],
  lost: [
    1047, // a Galera node that is not in the cluster
    1053, // shutdown in progress
    1180, // an error during COMMIT
    1290, // read-only: what was the primary before a failover
    1317, // statement interrupted, as a shutdown does
    1836, // read-only mode
    1927, // MariaDB: connection killed
    1969, // MariaDB: longer than max_statement_time
    3024, // longer than max_execution_time
    3100, // group replication: the group did not take the transaction
    3169, // session killed
    3781, // group replication: a new primary did not catch up in time
    3782, // the same: it was shut down meanwhile
    3783, // the same: it failed meanwhile
    3797, // the same: no consistency before the transaction
    3798, // the same: no consistency after the transaction before
    3989, // the database is read-only
    4031, // disconnected for being idle
    4094, // group replication: the primary is being changed
  ],
  outage: [
    ...[1004, 1005, 1006, 1016, 1017, 1018, 1024, 1025, 1026, 1034, 1035, 1194, 1195], // files cannot be used
    ...[1712, 1817, 1877, 1932, 3000], // a table or an index is damaged; 1932 of MariaDB
    ...[1015, 1027, 1036, 1223, 1792, 1874], // locked, or for reading only
    ...[1021, 1114, 1878, 3019, 3675], // the disk, a table, the undo log is full
    1030, // an error of the storage engine, most often of the disk
    ...[1037, 1038, 1041, 1135, 3015, 3985], // memory or threads are exhausted
    ...[1040, 1129, 1130, 1203, 1226, 1637], // too many connections, hosts that are refused, limits of an account
    ...[1044, 1045, 1142, 1143, 1227, 1370, 1698, 1820, 1862, 3118, 3879, 3955], // rights, passwords, locked accounts
    ...[1049, 1146], // no such database or table
    ...[1077, 1079], // the server ends
  ],
  value: [
    1118, // the row is too long
    1153, // the packet is: the driver gets the error and its connection is closed
    1265, // data truncated
    1301, // a result would be longer than a packet
    1366, // not text of the column's character set, or no number
    3819, // a check of the table
  ],
} as const satisfies Partial<Record<TransactionFault, readonly number[]>>;

const faultOfCode: ReadonlyMap<number, TransactionFault> = new Map(
  (Object.entries(codes) as [TransactionFault, readonly number[]][]).flatMap(([fault, numbers]) =>
    numbers.map((code) => [code, fault] as const),
  ),
);

/** By class of SQLSTATE, its first two characters. */
const faultOfClass: Readonly<Record<string, TransactionFault>> = {
  '08': 'lost', // the connection
  '22': 'value', // data that does not fit its column
  '23': 'value', // a key that is taken, NULL where there must be a value
  '28': 'outage', // the account
  '40': 'rolled-back',
};

/** `fatal` is how the driver marks every error that ended a connection, and we one that has to be ended. */
export function faultOf(error: unknown): TransactionFault {
  if (!(error instanceof Error)) return 'none';
  const { errno = 0, sqlState = '', fatal } = error as { errno?: number; sqlState?: string; fatal?: boolean };
  const known = faultOfCode.get(errno);
  // Another try with the same value would end the next connection.
  if (known === 'value') return known;
  if (fatal) return 'lost';
  return known ?? faultOfClass[sqlState.slice(0, 2)] ?? 'none';
}
