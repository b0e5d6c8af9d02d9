import assert from 'node:assert/strict';

const howTo = {
  KAFKA_BROKERS: 'eval "$(deploy/local/up kafka)"',
  MYSQL_URL: 'eval "$(deploy/local/up mariadb)"',
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
