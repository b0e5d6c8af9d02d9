import assert from 'node:assert/strict';
import { type AlarmEvent, alarmDecider, alarmStream } from '../../../domain/detection/alarm.ts';
import { deciderSpec } from '../../support/decider-spec.ts';

const given = deciderSpec(alarmDecider);
const alarmId = 'a1';
const finding = { at: 5, value: 31, magnitude: 1, explanation: '31 is above 30' };
const raised: AlarmEvent = {
  type: 'AlarmRaised',
  data: {
    alarmId,
    ruleId: 'hot',
    ruleRevision: 0,
    ruleName: 'Too hot',
    kind: 'range',
    severity: 'info',
    deviceId: 'd',
    metric: 't',
    notify: [],
    ...finding,
  },
};
const escalated: AlarmEvent = { type: 'AlarmEscalated', data: { alarmId, ...finding } };
const cleared: AlarmEvent = { type: 'AlarmCleared', data: { alarmId, ...finding } };
const acknowledge = { type: 'AcknowledgeAlarm', alarmId, note: 'seen' } as const;
const acknowledged: AlarmEvent = { type: 'AlarmAcknowledged', data: { alarmId, note: 'seen' } };

describe('Alarm', () => {
  it('has a stream of its own', () => assert.equal(alarmStream('a1'), 'alarm-a1'));

  it('is acknowledged once, whether it is open or cleared', () => {
    given(raised).when(acknowledge).thenEvents(acknowledged);
    given(raised, escalated).when(acknowledge).thenEvents(acknowledged);
    given(raised, cleared).when(acknowledge).thenEvents(acknowledged);
    given(raised, acknowledged).when(acknowledge).thenNothing();
    given(raised, acknowledged, escalated).when(acknowledge).thenNothing();
    given(raised, acknowledged, cleared).when(acknowledge).thenNothing();
  });

  it('is silenced until a time, and until another when somebody wants it', () => {
    const silence = (until: number) => ({ type: 'SilenceAlarm', alarmId, until, note: null }) as const;
    const silenced = (until: number): AlarmEvent => ({
      type: 'AlarmSilenced',
      data: { alarmId, until, note: null },
    });
    given(raised).when(silence(9)).thenEvents(silenced(9));
    given(raised, cleared).when(silence(9)).thenEvents(silenced(9));
    given(raised, silenced(9), escalated).when(silence(9)).thenNothing();
    given(raised, silenced(9)).when(silence(5)).thenEvents(silenced(5));
    given(raised, silenced(9), silenced(5)).when(silence(9)).thenEvents(silenced(9));
    given(raised, silenced(9)).when(acknowledge).thenEvents(acknowledged);
    given().when(silence(9)).thenRejected('AlarmNotFound');
  });

  it('cannot be acknowledged before it was raised', () =>
    given().when(acknowledge).thenRejected('AlarmNotFound'));

  it('is open from when it is raised until it is cleared', () => {
    const of = (...events: readonly AlarmEvent[]) => events.reduce(alarmDecider.evolve, alarmDecider.initial);
    assert.deepEqual(of(raised), { status: 'open', isAcknowledged: false });
    assert.deepEqual(of(raised, escalated), { status: 'open', isAcknowledged: false });
    assert.deepEqual(of(raised, acknowledged), { status: 'open', isAcknowledged: true });
    assert.deepEqual(of(raised, acknowledged, cleared), { status: 'cleared', isAcknowledged: true });
    assert.deepEqual(of(raised, cleared), { status: 'cleared', isAcknowledged: false });
  });

  it('cannot begin with anything else', () => {
    assert.throws(
      () => alarmDecider.evolve(alarmDecider.initial, cleared),
      /AlarmCleared of alarm a1 comes before it was raised/,
    );
  });
});
