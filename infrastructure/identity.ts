import { hash, randomBytes, randomFillSync, timingSafeEqual } from 'node:crypto';
import { parse, v7 } from 'uuid';
import type { CredentialKind, Credentials } from '../application/ports/api-keys.ts';
import type { Ids } from '../application/ports/system.ts';

/** Namespace of every id Fieldlog derives. Never changes: derived ids are stored for ever. */
const namespace = parse('6f1c3f0e-7f6d-4f0a-9a35-2b1d6f0c8e21');

export const uuidIds: Ids = {
  uuidV7: freshIds(),
  // JSON keeps ('a', 'bc') and ('ab', 'c') apart.
  uuidV5: (...parts) => nameBased(JSON.stringify(parts)),
  digest: (text) => hash('sha256', text),
};

/** UUIDv5, made with one call for the hash: the library's way takes eight times as long, once for each event. */
function nameBased(name: string): string {
  const digest = hash('sha1', Buffer.concat([namespace, Buffer.from(name)]));
  const variant = '89ab'.charAt(Number.parseInt(digest.charAt(16), 16) & 3);
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-5${digest.slice(13, 16)}-${variant}${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}

/**
 * UUIDv7, each greater than the one before. Random bytes are fetched for many at once: a system call for each id
 * was a third of what a small request cost.
 */
function freshIds(): () => string {
  const random = new Uint8Array(16 * 256);
  let used = random.length;
  let msecs = 0;
  let seq = 0;
  return () => {
    if (used === random.length) {
      randomFillSync(random);
      used = 0;
    }
    const bytes = random.subarray(used, used + 16);
    used += 16;
    const now = Date.now();
    if (now > msecs) {
      msecs = now;
      // Of its 32 bits one stays free, so that counting on within the millisecond never overflows.
      seq = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) >>> 1;
    } else seq += 1;
    return v7({ random: bytes, msecs, seq });
  };
}

/** What requests to a hook are signed with, in the form of Standard Webhooks. */
export const newHookSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;

/** The prefixes let scanners for leaked secrets know one when they see it. */
const prefixes = { key: 'flk', device: 'fld' } as const satisfies Record<CredentialKind, string>;
const kinds: Readonly<Record<string, CredentialKind>> = { flk: 'key', fld: 'device' };

/** Prefix, whose it is, secret; subject and secret as base64url, so that all of it is a bearer token of RFC 6750. */
const form = /^(flk|fld)_([\w-]{1,180})\.[\w-]{43}$/;

/**
 * One round of SHA-256 is enough: nobody can try 2^256 secrets however fast each try is. Slow hashes such as argon2
 * are for passwords that people choose, and would cost every request what they cost an attacker.
 */
const sha256 = (text: string): string => hash('sha256', text);

export const randomCredentials: Credentials = {
  issue(kind, subject) {
    const whose = Buffer.from(subject).toString('base64url');
    const secret = `${prefixes[kind]}_${whose}.${randomBytes(32).toString('base64url')}`;
    return { secret, hash: sha256(secret) };
  },

  read(text) {
    const [, prefix = '', whose = ''] = form.exec(text) ?? [];
    const kind = kinds[prefix];
    return kind && { kind, subject: Buffer.from(whose, 'base64url').toString(), hash: sha256(text) };
  },

  hash: sha256,

  same: (one, other) => one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other)),
};
