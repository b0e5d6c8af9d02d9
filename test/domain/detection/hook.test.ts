import assert from 'node:assert/strict';
import { type HookCommand, type HookEvent, hookDecider, hookStream } from '../../../domain/detection/hook.ts';
import { deciderSpec } from '../../support/decider-spec.ts';

const given = deciderSpec(hookDecider);
const hookId = 'pager';
const definition = { url: 'https://pager.example/', secret: 'whsec_one' };
const create: HookCommand = { type: 'CreateHook', hookId, definition };
const created: HookEvent = { type: 'HookCreated', data: { hookId, ...definition } };
const enable: HookCommand = { type: 'EnableHook', hookId };
const enabled: HookEvent = { type: 'HookEnabled', data: { hookId } };
const disable: HookCommand = { type: 'DisableHook', hookId };
const disabled: HookEvent = { type: 'HookDisabled', data: { hookId } };
const remove: HookCommand = { type: 'RemoveHook', hookId };
const removed: HookEvent = { type: 'HookRemoved', data: { hookId } };
const change = (changes: Partial<typeof definition>): HookCommand => ({
  type: 'ChangeHook',
  hookId,
  changes,
});
const changed = (changes: Partial<typeof definition>): HookEvent => ({
  type: 'HookChanged',
  data: { hookId, ...definition, ...changes },
});

describe('Hook', () => {
  it('has a stream of its own', () => assert.equal(hookStream('pager'), 'hook-pager'));

  it('is created once', () => {
    given().when(create).thenEvents(created);
    given(created).when(create).thenRejected('HookAlreadyExists');
    given(created, removed).when(create).thenRejected('HookAlreadyExists');
  });

  it('is not there before', () => {
    for (const command of [change({}), enable, disable, remove])
      given().when(command).thenRejected('HookNotFound');
  });

  it('is changed where something differs', () => {
    given(created).when(change({})).thenNothing();
    given(created).when(change(definition)).thenNothing();
    given(created)
      .when(change({ secret: 'whsec_two' }))
      .thenEvents(changed({ secret: 'whsec_two' }));
    given(created)
      .when(change({ url: 'https://other.example/' }))
      .thenEvents(changed({ url: 'https://other.example/' }));
    given(created, changed({ secret: 'whsec_two' }))
      .when(change({ secret: 'whsec_two' }))
      .thenNothing();
  });

  it('is disabled and enabled at will, and stays so when it is changed', () => {
    given(created).when(enable).thenNothing();
    given(created).when(disable).thenEvents(disabled);
    given(created, disabled).when(disable).thenNothing();
    given(created, disabled).when(enable).thenEvents(enabled);
    given(created, disabled, changed({ secret: 'whsec_two' }))
      .when(disable)
      .thenNothing();
    given(created, disabled, enabled).when(enable).thenNothing();
  });

  it('is removed for good', () => {
    given(created).when(remove).thenEvents(removed);
    given(created, removed).when(remove).thenNothing();
    for (const command of [change({}), enable, disable])
      given(created, removed).when(command).thenRejected('HookIsRemoved');
  });

  it('keeps its definition in every status', () => {
    const of = (...events: readonly HookEvent[]) => events.reduce(hookDecider.evolve, hookDecider.initial);
    assert.deepEqual(of(created), { status: 'enabled', definition });
    assert.deepEqual(of(created, disabled), { status: 'disabled', definition });
    assert.deepEqual(of(created, removed), { status: 'removed', definition });
  });

  it('cannot begin with a change of its status', () => {
    assert.throws(
      () => hookDecider.evolve(hookDecider.initial, removed),
      /HookRemoved of hook pager comes before its creation/,
    );
  });
});
