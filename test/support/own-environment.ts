import path from 'node:path';
import { configSchema } from '../../infrastructure/config/config.ts';

const compiled = path.resolve(import.meta.dirname, '../../node_modules/.cache/fieldlog');

/**
 * The environment of a process that a test starts, without anything that configures Fieldlog: the servers of other tests
 * are not for everyone. Coverage is that of the tests' own processes: the others would run slower and start without
 * compiled code.
 */
export const ownEnvironment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries({ NODE_COMPILE_CACHE: compiled, ...process.env }).filter(
    ([name]) =>
      name !== 'FIELDLOG_CONFIG' && name !== 'NODE_V8_COVERAGE' && !Object.hasOwn(configSchema.shape, name),
  ),
);
