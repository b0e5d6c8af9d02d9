import type { DeviceBounds } from '../device-bounds.ts';

/** What an API key may be allowed to do. */
export const scopes = [
  'devices:write',
  'devices:read',
  'telemetry:write',
  'telemetry:read',
  'operate',
] as const;

export type Scope = (typeof scopes)[number];

export type ApiKey = {
  /** The actor of what is done with it; never given to another key. */
  readonly name: string;
  readonly hash: string;
  readonly scopes: readonly Scope[];
  /** The devices that it may touch; `null` for all. */
  readonly only: DeviceBounds | null;
  /** Epoch milliseconds, as all times here. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
};

/**
 * Every key there is or was, where all API nodes see them. Every call throws `KeysUnavailable`, or
 * `ReadModelsUnavailable` where they are in the database of the read models.
 */
export interface ApiKeys {
  /** In order of name. */
  list(): Promise<readonly ApiKey[]>;
  /** Answers `false`, and changes nothing, when a key has or had the name. */
  add(key: ApiKey): Promise<boolean>;
  /** Answers `false` when no key has the name. A key revoked before stays as it was. */
  revoke(name: string, at: number): Promise<boolean>;
}

/**
 * What the event store has about the keys: that there has been one, and which are revoked. Whoever loses the keys, or puts
 * back earlier ones, opens nothing. Throws `EventStoreUnavailable`.
 */
export interface AccessMarker {
  isAccessClosed(): Promise<boolean>;
  /** For good. May be called again. */
  closeAccess(): Promise<void>;
  /** Names of keys that were recorded as revoked. */
  revokedNames(): Promise<ReadonlySet<string>>;
  /** For good. May be called again. */
  recordRevoked(names: readonly string[]): Promise<void>;
}

/** The store of the keys cannot be used now; the same call may be made again. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable';
}

/** Whose credential it is: an API key's, by its name, or a device's token, by the device's id. */
export type CredentialKind = 'key' | 'device';

/** A credential as a caller shows it: whom it claims to be of, and the hash that has to be known for it. */
export type PresentedCredential = {
  readonly kind: CredentialKind;
  readonly subject: string;
  readonly hash: string;
};

/** Secrets of callers. Only their hashes are stored. */
export type Credentials = {
  /** A new one, of 256 random bits. The secret is shown once. */
  issue(kind: CredentialKind, subject: string): { readonly secret: string; readonly hash: string };

  /** `undefined` for text that has not the form of a credential. */
  read(text: string): PresentedCredential | undefined;

  /** SHA-256 in hexadecimal. */
  hash(text: string): string;

  /** Takes as long wherever the two hashes differ. */
  same(hash: string, other: string): boolean;
};

/** A path without credentials, and without what stands where ThingsBoard's clients have the token of a device, whatever that is. */
export const withoutCredentials = (path: string): string =>
  path
    .replace(/^(\/+api\/+v1\/+)(?!devices(?:\/|$))[^/]+(?=\/+(telemetry|attributes|rpc)\b)/i, '$1{token}')
    .replaceAll(/(?:flk|fld)_[^/]*/g, '{token}');
