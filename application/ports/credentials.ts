/** Whose credential it is: an API key's, by its name, or a device's token, by the device's id. */
export type CredentialKind = 'key' | 'device';

/** A credential as a caller shows it: whom it claims to be of, and the hash that has to be known for it. */
export type Shown = { readonly kind: CredentialKind; readonly subject: string; readonly hash: string };

/** Secrets that callers show. Only their hashes are ever kept. */
export type Credentials = {
  /** A new one, of 256 random bits. The secret is told once, to whom it is for. */
  issue(kind: CredentialKind, subject: string): { readonly secret: string; readonly hash: string };

  /** `undefined` for text that has not the form of a credential. */
  read(text: string): Shown | undefined;

  /** SHA-256 in hexadecimal. */
  hash(text: string): string;

  /** Takes as long wherever the two hashes differ. */
  same(hash: string, other: string): boolean;
};
