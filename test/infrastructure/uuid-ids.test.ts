import assert from 'node:assert/strict';
import fc from 'fast-check';
import { v5, validate, version } from 'uuid';
import { uuidIds } from '../../infrastructure/identity.ts';

describe('uuidIds', () => {
  it('makes UUIDv7 in strict order, also within a millisecond', () => {
    const made = Array.from({ length: 5000 }, () => uuidIds.uuidV7());
    assert.ok(made.every((id) => validate(id) && version(id) === 7));
    assert.deepEqual(made, [...new Set(made)].sort());
  });

  it('derives the UUIDv5 of its parts in its namespace, as any library does', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.integer())), (parts) => {
        const expected = v5(JSON.stringify(parts), '6f1c3f0e-7f6d-4f0a-9a35-2b1d6f0c8e21');
        assert.equal(uuidIds.uuidV5(...parts), expected);
      }),
    );
  });

  it('digests text with SHA-256', () => {
    assert.equal(uuidIds.digest('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });

  it('tells apart parts that read alike when joined', () => {
    assert.equal(uuidIds.uuidV5('a', 1), uuidIds.uuidV5('a', 1));
    assert.notEqual(uuidIds.uuidV5('a', 'bc'), uuidIds.uuidV5('ab', 'c'));
    assert.notEqual(uuidIds.uuidV5('a', 1), uuidIds.uuidV5('a', '1'));
  });
});
