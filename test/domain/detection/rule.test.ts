import assert from 'node:assert/strict';
import {
  type Condition,
  conditionFaults,
  type RuleCommand,
  type RuleDefinition,
  type RuleEvent,
  ruleDecider,
  ruleStream,
  ruleVersions,
} from '../../../domain/detection/rule.ts';
import { deciderSpec } from '../../support/decider-spec.ts';

const given = deciderSpec(ruleDecider);
const ruleId = 'hot';
const since = 1000;
const definition: RuleDefinition = {
  name: 'Too hot',
  selector: { type: 'boiler', labels: { site: 'north', floor: '1' } },
  metric: 't',
  severity: 'critical',
  condition: { kind: 'range', above: 90 },
  notify: ['pager'],
};
const create: RuleCommand = { type: 'CreateRule', ruleId, since, definition };
const created: RuleEvent = { type: 'RuleCreated', data: { ruleId, since, ...definition } };
const enable: RuleCommand = { type: 'EnableRule', ruleId, since };
const enabled: RuleEvent = { type: 'RuleEnabled', data: { ruleId, since } };
const disable: RuleCommand = { type: 'DisableRule', ruleId, since };
const disabled: RuleEvent = { type: 'RuleDisabled', data: { ruleId, since } };
const remove: RuleCommand = { type: 'RemoveRule', ruleId, since };
const removed: RuleEvent = { type: 'RuleRemoved', data: { ruleId, since } };
const change = (changes: Partial<RuleDefinition>): RuleCommand => ({
  type: 'ChangeRule',
  ruleId,
  since,
  changes,
});
const changed = (changes: Partial<RuleDefinition>): RuleEvent => ({
  type: 'RuleChanged',
  data: { ruleId, since, ...definition, ...changes },
});

describe('Rule', () => {
  it('has a stream of its own', () => assert.equal(ruleStream('hot'), 'rule-hot'));

  it('is created once', () => {
    given().when(create).thenEvents(created);
    given(created).when(create).thenRejected('RuleAlreadyExists');
    given(created, removed).when(create).thenRejected('RuleAlreadyExists');
  });

  it('is not there before', () => {
    for (const command of [change({}), enable, disable, remove])
      given().when(command).thenRejected('RuleNotFound');
  });

  it('is changed as a whole, and only where something differs', () => {
    given(created)
      .when(change({ severity: 'info' }))
      .thenEvents(changed({ severity: 'info' }));
    given(created).when(change({})).thenNothing();
    given(created).when(change(definition)).thenNothing();
    given(created)
      .when(change({ condition: { kind: 'range', above: 91 } }))
      .thenEvents(changed({ condition: { kind: 'range', above: 91 } }));
    given(created)
      .when(change({ notify: [] }))
      .thenEvents(changed({ notify: [] }));
  });

  it('is the same whatever the order of names, but not of a list', () => {
    const selector = { labels: { floor: '1', site: 'north' }, type: 'boiler' };
    given(created).when(change({ selector })).thenNothing();
    const two = { ...definition, notify: ['a', 'b'] };
    given({ type: 'RuleCreated', data: { ruleId, since, ...two } })
      .when(change({ notify: ['b', 'a'] }))
      .thenEvents({ type: 'RuleChanged', data: { ruleId, since, ...two, notify: ['b', 'a'] } });
  });

  it('does not change by a field that is undefined and was absent', () => {
    const { metric: _, ...general } = definition;
    given({ type: 'RuleCreated', data: { ruleId, since, ...general } })
      .when({ type: 'ChangeRule', ruleId, since, changes: { metric: undefined } as never })
      .thenNothing();
  });

  it('is disabled and enabled at will, and stays so when it is changed', () => {
    given(created).when(enable).thenNothing();
    given(created).when(disable).thenEvents(disabled);
    given(created, disabled).when(disable).thenNothing();
    given(created, disabled).when(enable).thenEvents(enabled);
    given(created, disabled, changed({ severity: 'info' }))
      .when(disable)
      .thenNothing();
    given(created, disabled, enabled).when(enable).thenNothing();
  });

  it('is removed for good', () => {
    given(created).when(remove).thenEvents(removed);
    given(created, removed).when(remove).thenNothing();
    for (const command of [change({}), enable, disable])
      given(created, removed).when(command).thenRejected('RuleIsRemoved');
  });

  it('cannot begin with a change of its status', () => {
    assert.throws(
      () => ruleDecider.evolve(ruleDecider.initial, enabled),
      /RuleEnabled of rule hot comes before/,
    );
  });

  it('has versions that count from when each change was made, none while it is not enabled', () => {
    const at = (event: RuleEvent, time: number) =>
      ({ ...event, data: { ...event.data, since: time } }) as RuleEvent;
    const events = [
      at(created, 10),
      at(disabled, 20),
      at(changed({ severity: 'info' }), 15),
      at(enabled, 30),
    ];
    assert.deepEqual(ruleVersions(events), [
      { ruleId, revision: 0, since: 10, definition },
      { ruleId, revision: 1, since: 20, definition: null },
      // A clock that was behind does not make a later change count earlier.
      { ruleId, revision: 2, since: 20, definition: null },
      { ruleId, revision: 3, since: 30, definition: { ...definition, severity: 'info' } },
    ]);
    assert.deepEqual(ruleVersions([created, removed]).at(-1)?.definition, null);
  });
});

describe('A condition', () => {
  const faults = (condition: Condition) => conditionFaults(condition).map(({ path }) => path);
  const range = (bounds: object): Condition => ({ kind: 'range', ...bounds });

  it('needs a bound, of a range and of a rate alone', () => {
    assert.deepEqual(conditionFaults(range({})), [
      { path: 'above', message: 'above or below is required, or both' },
    ]);
    assert.deepEqual(faults({ kind: 'rate' }), ['above']);
    for (const condition of [
      range({ above: 1 }),
      range({ below: 1 }),
      { kind: 'rate', above: 1 },
      { kind: 'rate', below: 1 },
      { kind: 'stuck', for: 1 },
      { kind: 'silent', for: 1 },
      { kind: 'novel' },
    ] as const)
      assert.deepEqual(faults(condition), []);
  });

  it('has no bound below that is greater than the one above', () => {
    assert.deepEqual(conditionFaults(range({ above: 1, below: 2 })), [
      { path: 'below', message: 'must not be greater than above, which is 1' },
    ]);
    assert.deepEqual(faults({ kind: 'rate', above: 1, below: 2 }), ['below']);
    assert.deepEqual(faults(range({ above: 2, below: 2 })), []);
  });

  it('clears on the inner side of its bounds', () => {
    assert.deepEqual(faults(range({ above: 5, clearAbove: 5, below: 1, clearBelow: 1 })), []);
    assert.deepEqual(faults(range({ above: 5, clearAbove: 3, below: 1, clearBelow: 3 })), []);
    assert.deepEqual(conditionFaults(range({ above: 5, clearAbove: 6 })), [
      { path: 'clearAbove', message: 'must come with above and not be greater' },
    ]);
    assert.deepEqual(faults(range({ below: 5, clearAbove: 3 })), ['clearAbove']);
    assert.deepEqual(conditionFaults(range({ below: 5, clearBelow: 4 })), [
      { path: 'clearBelow', message: 'must come with below and not be less' },
    ]);
    assert.deepEqual(faults(range({ above: 5, clearBelow: 6 })), ['clearBelow']);
    assert.deepEqual(faults({ kind: 'rate', above: 1, clearAbove: 9 } as never), []);
  });

  it('leaves values that clear it', () => {
    const message = 'no value would clear the alarm: clearBelow must not be greater than clearAbove';
    assert.deepEqual(conditionFaults(range({ above: 9, clearAbove: 2, below: 1, clearBelow: 3 })), [
      { path: 'clearAbove', message },
    ]);
    assert.deepEqual(conditionFaults(range({ above: 3, below: 1, clearBelow: 4 })), [
      { path: 'clearBelow', message },
    ]);
    assert.deepEqual(faults(range({ above: 9, clearAbove: 2, below: 3 })), ['clearAbove']);
  });
});
