import assert from 'node:assert/strict';
import type { Rules } from '../../../application/detection/rules.ts';
import type { RuleDefinition } from '../../../domain/detection/rule.ts';
import { services as s } from '../../../interfaces/composition/services.ts';
import { detectionFixture } from '../../support/detection-fixture.ts';

const definition: RuleDefinition = {
  name: 'Hot',
  selector: { labels: { site: 'north', line: '1' } },
  severity: 'warning',
  condition: { kind: 'range', above: 30 },
  notify: [],
};
const by = (actor: string, idempotencyKey?: string) => ({
  correlationId: 'c',
  actor,
  ...(idempotencyKey !== undefined && { idempotencyKey }),
});

describe('Idempotency keys of rules', () => {
  let fixture: Awaited<ReturnType<typeof detectionFixture>>;
  let rules: Rules;
  before(async () => {
    fixture = await detectionFixture();
    rules = await fixture.container.getAsync(s.rules);
  });
  after(() => fixture?.close());

  it('are known whatever the order of names in the request', async () => {
    const { labels: _, ...others } = definition.selector;
    const reordered = { ...definition, selector: { ...others, labels: { line: '1', site: 'north' } } };
    await rules.create('order', definition, by('a', 'k'));
    assert.equal((await rules.create('order', reordered, by('a', 'k'))).wasReplayed, true);
    const other = { ...definition, selector: { labels: { line: '2', site: 'north' } } };
    await assert.rejects(rules.create('order', other, by('a', 'k')), { name: 'IdempotencyKeyReused' });
  });

  it('are of each caller', async () => {
    await rules.create('callers', definition, by('a'));
    await rules.set('callers', 'disable', by('a', 'k'));
    assert.equal((await rules.set('callers', 'enable', by('b', 'k'))).rule.status, 'enabled');
  });

  it('of commands that change nothing are known again, whatever has happened since', async () => {
    const created = await rules.create('nothing', definition, by('a'));
    for (const [key, repeat] of [
      ['enable', () => rules.set('nothing', 'enable', by('a', 'enable'))],
      ['change', () => rules.change('nothing', { name: 'Hot' }, by('a', 'change'))],
    ] as const) {
      const { rule } = await repeat();
      assert.deepEqual([rule.status, rule.since], ['enabled', created.rule.since], key);
    }
    await rules.set('nothing', 'disable', by('b'));
    await rules.change('nothing', { name: 'Hotter' }, by('b'));
    assert.equal((await rules.set('nothing', 'enable', by('a', 'enable'))).wasReplayed, true);
    assert.equal((await rules.change('nothing', { name: 'Hot' }, by('a', 'change'))).wasReplayed, true);
    const rule = await rules.find('nothing');
    assert.deepEqual([rule?.status, rule?.definition.name], ['disabled', 'Hotter']);
  });
});
