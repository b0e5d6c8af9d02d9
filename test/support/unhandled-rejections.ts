import assert from 'node:assert/strict';

/** Fails each test of the suite that leaves a rejection unhandled: a process ends of it, while Mocha says nothing. */
export function failOnUnhandledRejections(): void {
  const left: unknown[] = [];
  const note = (reason: unknown) => left.push(reason);
  beforeEach(() => process.on('unhandledRejection', note));
  afterEach(() => {
    process.off('unhandledRejection', note);
    assert.deepEqual(left.splice(0), []);
  });
}
