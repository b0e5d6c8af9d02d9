import type { ErasedDevices } from '../ports/erased-devices.ts';
import type { ProjectionControl } from '../ports/projection-control.ts';
import type { Generation } from '../ports/read-models.ts';
import { type SweepPorts, sweepDevices } from './sweeping.ts';

export type ErasingPorts = SweepPorts & { readonly erased: ErasedDevices };

/**
 * Removes of erased devices what a generation of telemetry has of them. Found again as long as anything is left, for
 * readings may have been on their way.
 */
export async function sweepErased(
  of: Generation,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  for (const deviceId of await ports.erased.list()) {
    if (!(await ports.erased.hasTelemetry(of, deviceId))) continue;
    await sweepDevices(of, [deviceId], () => ({ before: null, target: now() }), ports, signal);
    await ports.erased.removeRest(of, deviceId, now());
  }
}

/** The same in every generation that is not being built, and of the device projections what nobody consumes into. */
export async function sweepErasedEverywhere(
  control: ProjectionControl,
  ports: ErasingPorts,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  const states = await control.states();
  const telemetry = states.find(({ projection }) => projection === 'telemetry');
  for (const { projection, generation, status } of telemetry?.generations ?? [])
    if (status !== 'building') await sweepErased({ projection, generation }, ports, now, signal);
  if (states.every(({ generations }) => generations.length === 1)) return;
  for (const deviceId of await ports.erased.list()) await ports.erased.removeRetired(deviceId);
}
