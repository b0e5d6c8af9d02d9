import assert from 'node:assert/strict';
import type { Refusal, SubmittedReading } from '../../application/telemetry/ingest.ts';
import { Rejection } from '../../domain/decider.ts';
import type { DeviceCommand } from '../../domain/device.ts';
import type { Reading } from '../../domain/telemetry.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import type { CommandContext } from '../../interfaces/cli/command-context.ts';
import type { Application, Session } from '../../interfaces/composition/application.ts';

export type Recorded = {
  readonly registered: (DeviceCommand & { type: 'RegisterDevice' })[];
  readonly batches: Reading[][];
  /** What happened last: the command line must not be over before the read models are there. */
  readonly log: string[];
};

/** The application's side of a session, remembering what it was asked; devices called `off…` are suspended. */
export function recordingSession(replaced: Partial<Session> = {}): {
  readonly recorded: Recorded;
  readonly session: Session;
  readonly runtime: CommandContext['runtime'];
} {
  const recorded: Recorded = { registered: [], batches: [], log: [] };
  const session = {
    ids: uuidIds,
    commands: {
      async handle(command: DeviceCommand) {
        if (command.type !== 'RegisterDevice') throw new Error(`${command.type} is no part of an import`);
        if (recorded.registered.some(({ deviceId }) => deviceId === command.deviceId))
          throw new Rejection('DeviceAlreadyRegistered', 'It is there');
        recorded.registered.push(command);
        return {} as never;
      },
    },
    async ingest(readings: readonly SubmittedReading[]) {
      const isKnown = (id: string) => recorded.registered.some(({ deviceId }) => deviceId === id);
      const reasonOf = (id: string) => {
        if (!isKnown(id)) return 'unknown-device';
        return id.startsWith('off') ? 'device-suspended' : undefined;
      };
      const refused = readings.flatMap(({ index, deviceId }): Refusal[] => {
        const reason = reasonOf(deviceId);
        return reason ? [{ index, deviceId, reason }] : [];
      });
      const bad = new Set(refused.map(({ index }) => index));
      const good = readings.filter(({ index }) => !bad.has(index));
      recorded.batches.push(
        good.map(({ deviceId, timestamp = Number.NaN, metrics }) => ({ deviceId, timestamp, metrics })),
      );
      recorded.log.push(`sent ${readings.length}`);
      return { accepted: good.length, refused, positions: [] };
    },
    progress: {
      ledgerTotals: async () => ({ late: 0 }),
    },
    async catchUp() {
      recorded.log.push('caught up');
    },
    ...replaced,
  } as unknown as Session;
  const application: Application = {
    session: async () => session,
    operations: async () => assert.fail('an import rebuilds nothing'),
    retention: async () => assert.fail('an import does not change retention'),
    deviceAudit: async () => assert.fail('an import audits nothing'),
    keys: async () => assert.fail('an import needs no API keys'),
    async close() {
      recorded.log.push('closed');
    },
  };
  const silent = () => {};
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  return {
    recorded,
    session,
    runtime: {
      log: async () => log,
      start: async () => assert.fail('an import starts no server'),
      openApplication: async () => application,
      migrateTopic: () => Promise.reject(new Error('No topic is copied here')),
      exit: (code: number) => assert.fail(`an import ended the process with ${code}`),
    },
  };
}
