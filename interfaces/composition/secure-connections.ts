import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { type Config, fileNamedBy } from '../../infrastructure/config/config.ts';
import type { KafkaClientOptions } from '../../infrastructure/kafka/client.ts';
import type { MysqlOptions } from '../../infrastructure/mysql/database.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';

/** How brokers are spoken to, from the variables about it. Throws a `StartupError` that names the one at fault. */
export function kafkaSecurity(config: Config): Pick<KafkaClientOptions, 'ssl' | 'sasl'> {
  const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username } = config;
  const password = config.KAFKA_SASL_PASSWORD;
  return {
    ...(config.KAFKA_SSL && {
      ssl: { ...authorities('KAFKA_SSL_CA_FILE', config), ...clientCertificate(config) },
    }),
    ...(mechanism !== undefined &&
      username !== undefined &&
      password !== undefined && {
        sasl: { mechanism, username, password } as NonNullable<KafkaClientOptions['sasl']>,
      }),
  };
}

/** How the database is spoken to. Throws a `StartupError` that names the variable at fault. */
export const mysqlSecurity = (config: Config): Pick<MysqlOptions, 'tls'> =>
  config.MYSQL_SSL ? { tls: authorities('MYSQL_SSL_CA_FILE', config) } : {};

function authorities(
  variable: 'KAFKA_SSL_CA_FILE' | 'MYSQL_SSL_CA_FILE',
  config: Config,
): { readonly ca?: string } {
  const file = config[variable];
  if (file === undefined) return {};
  const ca = fileNamedBy(variable, file);
  try {
    // What is no certificate would otherwise be passed over, and then every server be refused.
    new X509Certificate(ca);
  } catch (error) {
    throw new StartupError(
      `${variable} names ${file}, which must begin with a certificate in PEM: ${(error as Error).message}`,
    );
  }
  return { ca };
}

function clientCertificate({ KAFKA_SSL_CERT_FILE, KAFKA_SSL_KEY_FILE }: Config) {
  if (KAFKA_SSL_CERT_FILE === undefined || KAFKA_SSL_KEY_FILE === undefined) return {};
  const certificate = {
    cert: fileNamedBy('KAFKA_SSL_CERT_FILE', KAFKA_SSL_CERT_FILE),
    key: fileNamedBy('KAFKA_SSL_KEY_FILE', KAFKA_SSL_KEY_FILE),
  };
  try {
    createSecureContext(certificate);
  } catch (error) {
    throw new StartupError(
      `KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE must be a certificate in PEM and its key: ${(error as Error).message}`,
    );
  }
  return certificate;
}
