import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../../infrastructure/config/config.ts';
import { dataFiles } from '../../infrastructure/sqlite/database-file.ts';
import { findDamage } from '../../infrastructure/sqlite/errors.ts';
import { StoreUnusable } from '../../infrastructure/startup-error.ts';

/** `damage` is what is wrong and what to do about it. */
export type CheckedFile = { readonly name: string; readonly bytes: number; readonly damage: string | null };

/** Reads every embedded file that there is, however large. */
export const checkFiles = (config: Config): readonly CheckedFile[] =>
  embeddedFiles(config).map((file) => ({
    name: path.basename(file),
    bytes: statSync(file).size,
    damage: findDamage(file, 'full') ?? null,
  }));

/** A larger file would hold up the start for seconds. */
const checkedAtStart = 64 * 1024 * 1024;

/** Throws `StoreUnusable` for a damaged file, of those that are small. */
export function requireWholeFiles(config: Config): void {
  for (const file of embeddedFiles(config)) {
    if (statSync(file).size > checkedAtStart) continue;
    const damage = findDamage(file, 'quick');
    if (damage !== undefined) throw new StoreUnusable(damage);
  }
}

function embeddedFiles({ EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL, DATA_DIR }: Config): readonly string[] {
  if (EVENTSTORE_URL !== undefined && KAFKA_BROKERS !== undefined && MYSQL_URL !== undefined) return [];
  const { events, telemetry, readModels, access } = dataFiles(DATA_DIR);
  const used = [
    ...(EVENTSTORE_URL === undefined ? [events] : []),
    ...(KAFKA_BROKERS === undefined ? [telemetry] : []),
    ...(MYSQL_URL === undefined ? [readModels, access] : []),
  ];
  return used.filter((file) => existsSync(file));
}
