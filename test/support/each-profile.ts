import { distributedStores } from './distributed-stores.ts';
import { needs, onMariadbAndMysql } from './servers.ts';

/** The stores of a test, and the roles that serve them; `serve` alone when none are named. */
export type Profile = {
  readonly env: Readonly<Record<string, string>>;
  readonly roles?: readonly [string, ...string[]];
  drop(): Promise<void>;
};

/** The same tests on embedded stores and, where there are servers, on Kafka, EventStoreDB's protocol, and MariaDB or MySQL. */
export function onEachProfile(title: string, tests: (open: () => Promise<Profile>) => void): void {
  describe(`${title}, embedded`, function () {
    this.timeout(120_000);
    tests(async () => ({ env: {}, drop: async () => {} }));
  });

  needs('KAFKA_BROKERS', `${title}, distributed, with several workers`, (brokers) =>
    onMariadbAndMysql('on all servers', function (url) {
      this.timeout(240_000);
      tests(async () => {
        const { env, close } = await distributedStores(brokers, url);
        const workers = [
          'device-projector',
          'device-projector',
          'telemetry-projector',
          'telemetry-projector',
        ];
        return { env, roles: ['api', ...workers], drop: close };
      });
    }),
  );
}
