import path from 'node:path';
import { type Config, maskedConfig } from '../../infrastructure/config/config.ts';

/** For people: the folder, or each store by its own name where not all of them are in it. */
export function whereDataIs(config: Config): string {
  const { EVENTSTORE_URL, KAFKA_BROKERS, MYSQL_URL } = maskedConfig(config);
  const folder = path.resolve(config.DATA_DIR);
  if (!EVENTSTORE_URL && !KAFKA_BROKERS && !MYSQL_URL) return `data in ${folder}`;
  const stores = { devices: EVENTSTORE_URL, telemetry: KAFKA_BROKERS, 'read models': MYSQL_URL };
  return Object.entries(stores)
    .map(([what, server]) => `${what} in ${server ?? folder}`)
    .join(', ');
}
