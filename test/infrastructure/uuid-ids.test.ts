import assert from 'node:assert/strict';
import { validate, version } from 'uuid';
import { uuidIds } from '../../infrastructure/ids/uuid-ids.ts';

describe('uuidIds', () => {
  it('makes UUIDv7 in strict order, also within a millisecond', () => {
    const made = Array.from({ length: 5000 }, () => uuidIds.fresh());
    assert.ok(made.every((id) => validate(id) && version(id) === 7));
    assert.deepEqual(made, [...new Set(made)].sort());
  });

  it('tells apart parts that read alike when joined', () => {
    assert.equal(uuidIds.derived('a', 1), uuidIds.derived('a', 1));
    assert.notEqual(uuidIds.derived('a', 'bc'), uuidIds.derived('ab', 'c'));
    assert.notEqual(uuidIds.derived('a', 1), uuidIds.derived('a', '1'));
  });
});
