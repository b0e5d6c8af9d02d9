import { type Acl, isMetastream, originalOf, parsed, type StreamMetadata } from './metadata.ts';

export type Account = { readonly password: string; readonly groups?: readonly string[] };

/** Who asks. `anonymous` sent no user name. */
export type Caller = 'anonymous' | { readonly name: string; readonly groups: readonly string[] };

export type Action = 'read' | 'write' | 'delete';

/** What rights are decided by: streams' metadata, and the newest event of `$settings`. */
export type RightsSource = {
  metadata(stream: string): StreamMetadata;
  newestData(stream: string): Uint8Array | undefined;
};

const administrators = '$admins';
const everyone = '$all';
const keys = { read: '$r', write: '$w', delete: '$d' } as const;
const metadataKeys = { read: '$mr', write: '$mw', delete: '$mw' } as const;

/** The users of a store, and what they may do. Without users there is no checking, as on a server run insecurely. */
export class Rights {
  readonly #accounts = new Map<string, Account>();
  readonly #source: RightsSource;

  constructor(source: RightsSource) {
    this.#source = source;
  }

  get areChecked(): boolean {
    return this.#accounts.size > 0;
  }

  /** Adds a user, or changes its password and groups. */
  setUser(name: string, account: Account): void {
    this.#accounts.set(name, account);
  }

  /** Who a user name and a password belong to; nobody when the password is wrong. */
  caller(credentials: { readonly name: string; readonly password: string } | undefined): Caller | undefined {
    if (!credentials) return 'anonymous';
    const { name, password } = credentials;
    const account = this.#accounts.get(name);
    return account?.password === password ? { name, groups: account.groups ?? [] } : undefined;
  }

  /** Whether the caller may do this to a stream; `$all` is one. Deleting a metastream is writing it. */
  allows(caller: Caller, action: Action, stream: string): boolean {
    if (!this.areChecked) return true;
    if (caller === 'anonymous') return false;
    if (caller.groups.includes(administrators)) return true;
    const subject = isMetastream(stream) ? originalOf(stream) : stream;
    const key = isMetastream(stream) ? metadataKeys[action] : keys[action];
    const roles = this.#rolesFor(subject, key);
    return [everyone, caller.name, ...caller.groups].some((role) => roles.includes(role));
  }

  /** The stream's own list, or else that of `$settings`, or else the server's default. */
  #rolesFor(stream: string, key: keyof Acl): readonly string[] {
    const isSystem = stream.startsWith('$');
    const settings = this.#settings()[isSystem ? '$systemStreamAcl' : '$userStreamAcl'];
    const roles = this.#source.metadata(stream).acl?.[key] ?? settings?.[key];
    return [roles ?? (isSystem ? administrators : everyone)].flat();
  }

  #settings(): { readonly $userStreamAcl?: Acl; readonly $systemStreamAcl?: Acl } {
    const data = this.#source.newestData('$settings');
    return (data && parsed(data)) ?? {};
  }
}
