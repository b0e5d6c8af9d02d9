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
  /** Epoch milliseconds, as all times here. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
};

/** Every key there is or was, where all API nodes see them. Every call throws `ReadModelsUnavailable`. */
export interface ApiKeys {
  /** In order of name. */
  list(): Promise<readonly ApiKey[]>;
  /** Answers `false`, and changes nothing, when a key has or had the name. */
  add(key: ApiKey): Promise<boolean>;
  /** Answers `false` when no key has the name. A key revoked before stays as it was. */
  revoke(name: string, at: number): Promise<boolean>;
}
