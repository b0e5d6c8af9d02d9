import { unwatchFile, watchFile } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Log } from '../../application/ports/system.ts';
import { fileNamedBy } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';

/** A chain of certificates and the private key of its first, both PEM. */
export type Certificate = { readonly cert: string; readonly key: string };

/** The files a certificate is kept in, and renewed in by whoever renews it. */
export type CertificateFiles = {
  /** Throws a `StartupError` that says what is wrong with which file. */
  read(): Certificate;
  /** Calls `renewed` with what the files hold after each change, until the function it answers is called. */
  follow(renewed: (certificate: Certificate) => void): () => void;
};

const lookEvery = 5000;

/**
 * The files are looked at rather than watched: where a secret is mounted they are links, which are swapped without
 * any event for the file itself. While a pair does not match, as between two writes, the one before goes on.
 */
export function certificateFiles(certFile: string, keyFile: string, log: Log): CertificateFiles {
  return { read, follow };

  function read(): Certificate {
    const certificate = {
      cert: fileNamedBy('TLS_CERT_FILE', certFile),
      key: fileNamedBy('TLS_KEY_FILE', keyFile),
    };
    try {
      createSecureContext(certificate);
    } catch (error) {
      throw new StartupError(
        `TLS_CERT_FILE and TLS_KEY_FILE must be a certificate in PEM and its key: ${(error as Error).message}`,
      );
    }
    return certificate;
  }

  function follow(renewed: (certificate: Certificate) => void): () => void {
    const look = (): void => {
      try {
        renewed(read());
        log.info({ certFile }, 'The certificate was renewed');
      } catch (err) {
        log.error({ err, certFile }, 'The certificate cannot be renewed; the one before goes on');
      }
    };
    const files = [certFile, keyFile];
    for (const file of files) watchFile(file, { interval: lookEvery, persistent: false }, look);
    return () => {
      for (const file of files) unwatchFile(file, look);
    };
  }
}
