import assert from 'node:assert/strict';

const howTo = {
  KAFKA_BROKERS: 'eval "$(deploy/local/up kafka)"',
  LOCAL_MARIADB_URL: 'eval "$(deploy/local/up mariadb)"',
  LOCAL_MYSQL_URL: 'eval "$(deploy/local/up mysql)", which takes root and debootstrap the first time',
  LOCAL_KAFKA_SECURE: 'eval "$(deploy/local/up kafka)"',
  LOCAL_CA_FILE: 'eval "$(deploy/local/up)"',
} as const;

/**
 * A suite against a real server, named by an environment variable whose value the suite is given. Without it the
 * suite is one pending test that says what is missing; under CI, where the servers must be there, a failing one.
 */
export function needs(
  variable: keyof typeof howTo,
  title: string,
  suite: (this: Mocha.Suite, value: string) => void,
): void {
  const value = process.env[variable];
  if (value) {
    describe(title, function () {
      // Servers share the machine with everything else on it. The reporter names what needed its second try.
      if (process.env.CI) this.retries(1);
      suite.call(this, value);
    });
    return;
  }
  const missing = `needs ${variable}: ${howTo[variable]}`;
  describe(title, () => {
    if (process.env.CI) it(missing, () => assert.fail(missing));
    else it(missing);
  });
}

const databases = { MariaDB: 'LOCAL_MARIADB_URL', MySQL: 'LOCAL_MYSQL_URL' } as const;
export type DatabaseName = keyof typeof databases;

/** The same suite on each server that `MYSQL_URL` may name; the title says which one it is. */
export function onMariadbAndMysql(
  title: string,
  suite: (this: Mocha.Suite, url: string, name: DatabaseName) => void,
): void {
  for (const name of ['MariaDB', 'MySQL'] as const)
    needs(databases[name], `${title}, on ${name}`, function (url) {
      suite.call(this, url, name);
    });
}
