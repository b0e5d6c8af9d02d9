/** The variables by which Fieldlog reaches the listener of `deploy/local` that wants TLS and a password. */
export function secureKafka(
  /** `user:password@host:port,…`, as `deploy/local/up` tells it. */
  listener: string,
  caFile: string,
): Record<string, string> & { readonly KAFKA_BROKERS: string } {
  const [, username = '', password = '', brokers = ''] = listener.match(/^(.+):(.+)@(.+)$/) ?? [];
  return {
    KAFKA_BROKERS: brokers,
    KAFKA_SSL: 'true',
    KAFKA_SSL_CA_FILE: caFile,
    KAFKA_SASL_MECHANISM: 'scram-sha-512',
    KAFKA_SASL_USERNAME: username,
    KAFKA_SASL_PASSWORD: password,
  };
}
