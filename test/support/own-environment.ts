import { configSchema } from '../../infrastructure/config/config.ts';

/** The environment without anything that configures Fieldlog: the servers of other tests are not for everyone. */
export const ownEnvironment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => name !== 'FIELDLOG_CONFIG' && !Object.hasOwn(configSchema.shape, name),
  ),
);
