import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { configFrom } from '../../../infrastructure/config/config.ts';
import { kafkaSecurity, mysqlSecurity } from '../../../interfaces/composition/distributed.ts';
import { temporaryDirectory } from '../../infrastructure/sqlite/temporary-directory.ts';
import { selfSigned } from '../../support/self-signed.ts';

describe('Connections to servers', () => {
  const folder = temporaryDirectory();
  const { cert, key } = selfSigned();
  const file = (name: string, text: string) => {
    const full = path.join(folder.path, name);
    writeFileSync(full, text);
    return full;
  };
  const certFile = file('cert.pem', cert);
  const keyFile = file('key.pem', key);
  const garbage = file('garbage.pem', 'not PEM');
  after(() => folder.remove());

  const kafka = (env: Record<string, string>) => kafkaSecurity(configFrom(env));
  const mysql = (env: Record<string, string>) => mysqlSecurity(configFrom(env));

  it('are plain unless said otherwise', () => {
    assert.deepEqual(kafka({}), {});
    assert.deepEqual(mysql({}), {});
  });

  it('trust what Node trusts, or the certificates of the file, and show their own', () => {
    assert.deepEqual(kafka({ KAFKA_SSL: 'true' }), { ssl: {} });
    assert.deepEqual(
      kafka({
        KAFKA_SSL: 'true',
        KAFKA_SSL_CA_FILE: certFile,
        KAFKA_SSL_CERT_FILE: certFile,
        KAFKA_SSL_KEY_FILE: keyFile,
      }),
      { ssl: { ca: cert, cert, key } },
    );
    assert.deepEqual(mysql({ MYSQL_SSL: 'true' }), { tls: {} });
    assert.deepEqual(mysql({ MYSQL_SSL: 'true', MYSQL_SSL_CA_FILE: certFile }), { tls: { ca: cert } });
  });

  it('are not tried with files that cannot do, and the variable at fault is named', () => {
    const ssl = { KAFKA_SSL: 'true' };
    const fault = (message: RegExp) => ({ name: 'StartupError', message });
    assert.throws(
      () => kafka({ ...ssl, KAFKA_SSL_CA_FILE: '/nowhere' }),
      fault(/^KAFKA_SSL_CA_FILE names .*cannot/),
    );
    assert.throws(
      () => kafka({ ...ssl, KAFKA_SSL_CA_FILE: garbage }),
      fault(/^KAFKA_SSL_CA_FILE names .* PEM/),
    );
    assert.throws(
      () =>
        kafka({
          ...ssl,
          KAFKA_SSL_CERT_FILE: certFile,
          KAFKA_SSL_KEY_FILE: file('other.pem', selfSigned().key),
        }),
      fault(/^KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE must/),
    );
    assert.throws(
      () => mysql({ MYSQL_SSL: 'true', MYSQL_SSL_CA_FILE: '/nowhere' }),
      fault(/^MYSQL_SSL_CA_FILE names/),
    );
  });
});
