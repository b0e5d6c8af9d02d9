import { hash as digest, randomBytes, timingSafeEqual } from 'node:crypto';
import type { CredentialKind, Credentials } from '../../application/ports/api-keys.ts';

/** The prefixes let scanners for leaked secrets know one when they see it. */
const prefixes = { key: 'flk', device: 'fld' } as const satisfies Record<CredentialKind, string>;
const kinds: Readonly<Record<string, CredentialKind>> = { flk: 'key', fld: 'device' };

/** Prefix, whose it is, secret; subject and secret as base64url, so that all of it is a bearer token of RFC 6750. */
const form = /^(flk|fld)_([\w-]{1,180})\.[\w-]{43}$/;

/**
 * One round of SHA-256 is enough: nobody can try 2^256 secrets however fast each try is. Slow hashes such as argon2
 * are for passwords that people choose, and would cost every request what they cost an attacker.
 */
const hash = (text: string): string => digest('sha256', text);

export const randomCredentials: Credentials = {
  issue(kind, subject) {
    const whose = Buffer.from(subject).toString('base64url');
    const secret = `${prefixes[kind]}_${whose}.${randomBytes(32).toString('base64url')}`;
    return { secret, hash: hash(secret) };
  },

  read(text) {
    const [, prefix = '', whose = ''] = form.exec(text) ?? [];
    const kind = kinds[prefix];
    return kind && { kind, subject: Buffer.from(whose, 'base64url').toString(), hash: hash(text) };
  },

  hash,

  same: (one, other) => one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other)),
};
