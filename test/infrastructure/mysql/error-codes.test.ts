import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { faultOf } from '../../../infrastructure/mysql/error-codes.ts';

const require = createRequire(import.meta.url);
/** The driver's list of MySQL's errors by number. */
const names: Readonly<Record<string, string>> = require(
  join(dirname(require.resolve('mysql2/package.json')), 'lib/constants/errors.js'),
);

const errorOf = (errno: number, sqlState = 'HY000', more: object = {}) =>
  Object.assign(new Error('from the server'), { errno, sqlState, ...more });

describe('Error codes of MySQL and MariaDB', () => {
  it('are an outage where the server cannot work, whatever it is given', () => {
    const outage = ['lost', 'outage', 'rolled-back'];
    const telling =
      /DISK_FULL|_FULL$|OUT_?OF_?(MEMORY|RESOURCES)|ACCESS_DENIED|CORRUPT$|READ_ONLY_MODE|SHUTDOWN|KILLED$/;
    const ofOthers =
      /BINLOG|TRANS_CACHE|STMT_CACHE|REPLICA|KEYRING|EVENT|HELP|SP_PROC|CLIENT_PRIVILEGE|PERSIST|KILL_DENIED|CHANGE_USER|GRANT_AS|SYS_VAR/;
    const found = Object.entries(names)
      .filter(([code]) => Number(code) >= 1000)
      .filter(([, name]) => telling.test(name) && !ofOthers.test(name) && name.startsWith('ER_'));
    const missed = found.filter(([code]) => !outage.includes(faultOf(errorOf(Number(code)))));
    assert.deepEqual(missed, []);
    assert.ok(found.length > 15, `${found.length} such errors`);
  });

  it('are the fault of a value where the data do not fit, a lost connection or a retry by their class', () => {
    assert.equal(faultOf(errorOf(1406, '22001')), 'value');
    assert.equal(faultOf(errorOf(1062, '23000')), 'value');
    assert.equal(faultOf(errorOf(9999, '22032')), 'value');
    assert.equal(faultOf(errorOf(9999, '40001')), 'rolled-back');
    assert.equal(faultOf(errorOf(1158, '08S01')), 'lost');
    assert.equal(faultOf(errorOf(9999, '28000')), 'outage');
  });

  it('are unknown where neither number nor class says anything', () => {
    for (const [errno, state] of [
      [1064, '42000'],
      [1054, '42S22'],
      [1105, 'HY000'],
      [1644, '45000'],
    ] as const)
      assert.equal(faultOf(errorOf(errno, state)), 'none');
    assert.equal(faultOf(new TypeError('of our own')), 'none');
  });

  it('tell a packet that is too long from a connection that was lost', () => {
    assert.equal(faultOf(errorOf(1153, '08S01', { fatal: true })), 'value');
    assert.equal(faultOf(errorOf(1054, '42S22', { fatal: true })), 'lost');
  });
});
