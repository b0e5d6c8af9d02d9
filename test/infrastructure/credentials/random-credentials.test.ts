import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import fc from 'fast-check';
import { randomCredentials as credentials } from '../../../infrastructure/identity.ts';

describe('Random credentials', () => {
  it('say whose they are, and are bearer tokens of RFC 6750, whatever the subject', () =>
    fc.assert(
      fc.property(
        fc.constantFrom('key' as const, 'device' as const),
        fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/),
        (kind, subject) => {
          const { secret, hash } = credentials.issue(kind, subject);
          assert.match(secret, /^[A-Za-z0-9._~+/-]+=*$/);
          assert.deepEqual(credentials.read(secret), { kind, subject, hash });
          assert.ok(!hash.includes(secret) && /^[0-9a-f]{64}$/.test(hash));
        },
      ),
    ));

  it('are never the same twice', () => {
    const secrets = Array.from({ length: 100 }, () => credentials.issue('key', 'a').secret);
    assert.equal(new Set(secrets).size, 100);
    assert.equal(credentials.issue('key', 'a').secret.split('.')[1]?.length, 43);
  });

  it('are not made of other text', () => {
    const { secret } = credentials.issue('key', 'a');
    for (const text of ['', 'x', ` ${secret}`, `${secret}x`, secret.slice(1), secret.replace('flk', 'flx')])
      assert.equal(credentials.read(text), undefined, text);
  });

  it('are compared in constant time', () => {
    const real = crypto.timingSafeEqual;
    const compared: number[] = [];
    crypto.timingSafeEqual = (a, b) => {
      compared.push(a.byteLength);
      return real(a, b);
    };
    syncBuiltinESMExports();
    try {
      const [one, other] = [credentials.hash('one'), credentials.hash('other')];
      assert.deepEqual(
        [credentials.same(one, one), credentials.same(one, other), credentials.same(one, 'short')],
        [true, false, false],
      );
    } finally {
      crypto.timingSafeEqual = real;
      syncBuiltinESMExports();
    }
    assert.deepEqual(compared, [64, 64]);
  });
});
