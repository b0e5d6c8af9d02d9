import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const local = path.resolve(import.meta.dirname, '../../deploy/local');
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

/** One that `MYSQL_URL` may name. */
export class DatabaseServer {
  readonly name: DatabaseName;
  readonly #url: string;
  readonly #script: string;

  constructor(name: DatabaseName, url: string) {
    this.name = name;
    this.#url = url;
    this.#script = path.join(local, `${name.toLowerCase()}.sh`);
  }

  /** Whether `deploy/local` runs it, so that tests may stop it. */
  async isLocal(): Promise<boolean> {
    const { stdout } = await run(this.#script, ['env']).catch(() => ({ stdout: '' }));
    return stdout.split(/\s/).includes(`${databases[this.name]}=${this.#url}`);
  }

  /** Resolves, after `start`, once it answers. */
  async control(how: 'stop' | 'kill' | 'start'): Promise<void> {
    await run(this.#script, [how]);
  }
}

const databases = { MariaDB: 'LOCAL_MARIADB_URL', MySQL: 'LOCAL_MYSQL_URL' } as const;
type DatabaseName = keyof typeof databases;

/** The same suite on each server that `MYSQL_URL` may name; the title says which one it is. */
export function onMariadbAndMysql(
  title: string,
  suite: (this: Mocha.Suite, url: string, server: DatabaseServer) => void,
): void {
  for (const name of ['MariaDB', 'MySQL'] as const)
    needs(databases[name], `${title}, on ${name}`, function (url) {
      suite.call(this, url, new DatabaseServer(name, url));
    });
}
