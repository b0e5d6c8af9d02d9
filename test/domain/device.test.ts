import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Rejection } from '../../domain/decider.ts';
import {
  type DeviceCommand,
  type DeviceDetails,
  type DeviceEvent,
  deviceDecider,
} from '../../domain/device.ts';
import { deciderSpec } from '../support/decider-spec.ts';

const given = deciderSpec(deviceDecider);
const deviceId = 'boiler-1';
const details = { name: 'Boiler', type: 'heater', labels: { site: 'north' } };
const register = { type: 'RegisterDevice', deviceId, details } as const;
const registered: DeviceEvent = { type: 'DeviceRegistered', data: { deviceId, ...details } };
const suspend = { type: 'SuspendDevice', deviceId, reason: 'noisy' } as const;
const suspended: DeviceEvent = { type: 'DeviceSuspended', data: { deviceId, reason: 'noisy' } };
const reinstate = { type: 'ReinstateDevice', deviceId } as const;
const reinstated: DeviceEvent = { type: 'DeviceReinstated', data: { deviceId } };
const decommission = { type: 'DecommissionDevice', deviceId, reason: 'scrapped' } as const;
const decommissioned: DeviceEvent = { type: 'DeviceDecommissioned', data: { deviceId, reason: 'scrapped' } };
const erase = { type: 'EraseDevice', deviceId, reason: 'asked for' } as const;
const erased: DeviceEvent = {
  type: 'DeviceErased',
  data: { deviceId, type: details.type, reason: 'asked for' },
};
const tokenHash = 'a'.repeat(64);
const issueToken = { type: 'IssueDeviceToken', deviceId, tokenHash } as const;
const tokenIssued: DeviceEvent = { type: 'DeviceTokenIssued', data: { deviceId, tokenHash } };
const change = (changes: Partial<DeviceDetails>) =>
  ({ type: 'ChangeDeviceDetails', deviceId, changes }) as const;

describe('Device', () => {
  describe('register', () => {
    it('registers an unknown device', () => given().when(register).thenEvents(registered));
    it('refuses an id that is taken, even with the same details', () =>
      given(registered).when(register).thenRejected('DeviceAlreadyRegistered'));
    it('refuses the id of a decommissioned device', () =>
      given(registered, decommissioned).when(register).thenRejected('DeviceAlreadyRegistered'));
  });

  describe('token', () => {
    it('comes with the registration when asked for', () =>
      given()
        .when({ ...register, tokenHash })
        .thenEvents(registered, tokenIssued));
    it('is issued anew as often as asked, to a suspended device too', () =>
      given(registered, tokenIssued, suspended).when(issueToken).thenEvents(tokenIssued));
    it('is refused to an unknown device', () => given().when(issueToken).thenRejected('DeviceNotRegistered'));
    it('is refused to a decommissioned device', () =>
      given(registered, decommissioned).when(issueToken).thenRejected('DeviceIsDecommissioned'));
    it('is the last one issued', () => {
      const { evolve, initial } = deviceDecider;
      const later = { type: 'DeviceTokenIssued', data: { deviceId, tokenHash: 'b'.repeat(64) } } as const;
      const device = [registered, tokenIssued, suspended, later, reinstated].reduce(evolve, initial);
      assert.deepEqual(device, { status: 'active', ...details, tokenHash: 'b'.repeat(64) });
    });
  });

  describe('change details', () => {
    it('tells only what is different', () =>
      given(registered)
        .when(change({ ...details, name: 'Boiler 2' }))
        .thenEvents({ type: 'DeviceDetailsChanged', data: { deviceId, name: 'Boiler 2' } }));
    it('replaces the labels as a whole', () =>
      given(registered)
        .when(change({ labels: { site: 'south' } }))
        .thenEvents({ type: 'DeviceDetailsChanged', data: { deviceId, labels: { site: 'south' } } }));
    it('has nothing to do when nothing is different', () =>
      given(registered).when(change(details)).thenNothing());
    it('may change a suspended device', () =>
      given(registered, suspended)
        .when(change({ type: 'burner' }))
        .thenEvents({ type: 'DeviceDetailsChanged', data: { deviceId, type: 'burner' } }));
    it('refuses an unknown device', () =>
      given()
        .when(change({ name: 'x' }))
        .thenRejected('DeviceNotRegistered'));
    it('refuses a decommissioned device', () =>
      given(registered, decommissioned)
        .when(change({ name: 'x' }))
        .thenRejected('DeviceIsDecommissioned'));
  });

  describe('suspend and reinstate', () => {
    it('suspends an active device', () => given(registered).when(suspend).thenEvents(suspended));
    it('has nothing to do when suspended already', () =>
      given(registered, suspended).when(suspend).thenNothing());
    it('reinstates a suspended device', () =>
      given(registered, suspended).when(reinstate).thenEvents(reinstated));
    it('has nothing to reinstate when active', () => given(registered).when(reinstate).thenNothing());
    it('suspends again after reinstatement', () =>
      given(registered, suspended, reinstated).when(suspend).thenEvents(suspended));
    it('refuses an unknown device', () => given().when(suspend).thenRejected('DeviceNotRegistered'));
    it('refuses to reinstate a decommissioned device', () =>
      given(registered, decommissioned).when(reinstate).thenRejected('DeviceIsDecommissioned'));
  });

  describe('decommission', () => {
    it('decommissions an active device', () =>
      given(registered).when(decommission).thenEvents(decommissioned));
    it('decommissions a suspended device', () =>
      given(registered, suspended).when(decommission).thenEvents(decommissioned));
    it('has nothing to do when decommissioned already', () =>
      given(registered, decommissioned).when(decommission).thenNothing());
    it('refuses an unknown device', () => given().when(decommission).thenRejected('DeviceNotRegistered'));
  });

  describe('erase', () => {
    it('leaves nothing but its id, its type and why', () =>
      given(registered, suspended).when(erase).thenEvents(erased));
    it('is for a device that was decommissioned, too', () =>
      given(registered, decommissioned).when(erase).thenEvents(erased));
    it('has nothing to do when erased already', () => given(registered, erased).when(erase).thenNothing());
    it('can be read without what came before', () => given(erased).when(erase).thenNothing());
    it('refuses an unknown device', () => given().when(erase).thenRejected('DeviceNotRegistered'));
    it('is final', () => {
      given(registered, erased).when(register).thenRejected('DeviceAlreadyRegistered');
      given(registered, erased).when(reinstate).thenRejected('DeviceIsDecommissioned');
      given(registered, erased)
        .when(change({ name: 'a' }))
        .thenRejected('DeviceIsDecommissioned');
      given(registered, erased).when(decommission).thenNothing();
    });
  });

  it('lets every command but registration be sent again at will, and never leaves decommissioned', () => {
    const commands = fc.constantFrom<DeviceCommand>(
      register,
      suspend,
      reinstate,
      decommission,
      erase,
      change({ name: 'a' }),
      change({ labels: {} }),
    );
    fc.assert(
      fc.property(fc.array(commands, { maxLength: 30 }), (sequence) => {
        let state = deviceDecider.initial;
        for (const command of sequence) {
          const before = state;
          let events: readonly DeviceEvent[];
          try {
            events = deviceDecider.decide(command, state);
          } catch (error) {
            assert.ok(error instanceof Rejection);
            continue;
          }
          state = events.reduce(deviceDecider.evolve, state);
          if (before.status === 'decommissioned' && state.status !== 'erased')
            assert.deepEqual(state, before);
          if (before.status === 'erased') assert.deepEqual(state, before);
          if (command.type !== 'RegisterDevice') assert.deepEqual(deviceDecider.decide(command, state), []);
        }
      }),
    );
  });
});
