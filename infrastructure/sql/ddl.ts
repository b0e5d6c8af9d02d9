import type { Sql, SqlQueries } from './sql.ts';

/**
 * MySQL compares text without regard to case unless a collation says otherwise; ids must not. A clustered SQLite table keeps
 * rows in the order of their key, as InnoDB does, so that a device's range is read in one sweep.
 */
export function createTable(
  dialect: Sql['dialect'],
  name: string,
  columns: readonly string[],
  kind?: 'clustered',
): string {
  const suffix =
    dialect === 'mysql'
      ? ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin'
      : kind === 'clustered'
        ? ' WITHOUT ROWID'
        : '';
  return `CREATE TABLE IF NOT EXISTS ${name} (${columns.join(', ')})${suffix}`;
}

export async function hasColumn(sql: SqlQueries, name: string, column: string): Promise<boolean> {
  const columns =
    sql.dialect === 'mysql'
      ? 'information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?'
      : 'pragma_table_info(?) WHERE name = ?';
  const [row] = await sql.rows<[number]>(`SELECT COUNT(*) FROM ${columns}`, [name, column]);
  return Number(row?.[0]) > 0;
}

/** Of MySQL, which has no index that is made unless it is there. */
export async function hasIndex(sql: SqlQueries, table: string, index: string): Promise<boolean> {
  const [row] = await sql.rows<[number]>(
    `SELECT COUNT(*) FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?`,
    [table, index],
  );
  return Number(row?.[0]) > 0;
}

/** The type of a column that numbers its rows. */
export const sequence = (dialect: Sql['dialect']): string =>
  dialect === 'sqlite' ? 'INTEGER PRIMARY KEY AUTOINCREMENT' : 'BIGINT AUTO_INCREMENT PRIMARY KEY';
