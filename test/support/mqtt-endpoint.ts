import { Registry } from 'prom-client';
import type { SubmittedReading } from '../../application/telemetry/ingest.ts';
import { uuidIds } from '../../infrastructure/identity.ts';
import type { Access } from '../../interfaces/http/access.ts';
import { type Intake, intakeOf } from '../../interfaces/http/intake.ts';
import type { Certificate } from '../../interfaces/http/listener.ts';
import type { RateLimits } from '../../interfaces/http/rate-limits.ts';
import type { Identity } from '../../interfaces/http/request-context.ts';
import { MqttServer } from '../../interfaces/mqtt/mqtt-server.ts';
import { MqttRejections } from '../../interfaces/mqtt/publications.ts';

type Taken = Omit<SubmittedReading, 'index'>;

/** The server with everything behind it replaced: what was taken is in `taken`, and `hold` keeps it from being durable. */
export function mqttEndpoint(
  options: {
    rates?: RateLimits;
    isStrict?: boolean;
    maxConnections?: number;
    unavailableMs?: number;
    certificate?: Certificate;
  } = {},
) {
  const taken: Taken[] = [];
  let held: Promise<void> | undefined;
  let failure: Error | undefined;
  const identities = new Map<string, Identity>([
    ['token-a', { is: 'device', deviceId: 'a' }],
    ['token-b', { is: 'device', deviceId: 'b' }],
  ]);
  const key = {
    name: 'writer',
    hash: '',
    scopes: ['telemetry:write'],
    only: null,
    createdAt: 0,
    expiresAt: null,
    revokedAt: null,
  } as const;
  identities.set('key', { is: 'key', key });
  identities.set('key-of-a', { is: 'key', key: { ...key, only: { idPrefix: 'a' } } });
  const access: Access = {
    admit: () => undefined,
    sender: async (text) => identities.get(text ?? ''),
    requireDevice: async () => {},
    stillAdmits: async () => true,
  };
  const intake: Intake = intakeOf(
    async (readings) => {
      await held;
      if (failure) throw failure;
      const known = readings.filter(({ deviceId }) => deviceId !== 'unknown');
      taken.push(...known.map(({ deviceId, timestamp, metrics }) => ({ deviceId, timestamp, metrics })));
      const refused = readings
        .filter((one) => !known.includes(one))
        .map(({ index, deviceId }) => ({ index, deviceId, reason: 'unknown-device' as const }));
      return { accepted: known.length, refused, positions: [] };
    },
    { find: async () => new Map() },
    { accepted: () => {}, rejected: () => {} },
    options.rates,
  );
  const rejections = new MqttRejections();
  const metrics = new Registry();
  const quiet = () => {};
  const server = new MqttServer(
    {
      ...{ intake, access, rejections, metrics },
      ...{ rates: options.rates, ids: uuidIds },
      log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    },
    {
      maxConnections: options.maxConnections ?? 100,
      maxPacketBytes: 10_000,
      maxReadings: 100,
      topics: [{ filter: 'plant/{device}/data', form: 'json' }],
      isStrict: options.isStrict ?? false,
      unavailableMs: options.unavailableMs ?? 30_000,
      recheckMs: 20,
      certificate: options.certificate,
    },
  );
  return {
    ...{ server, taken, rejections, identities, metrics },
    fail: (error: Error | undefined) => {
      failure = error;
    },
    /** Returns what lets go again. */
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      held = promise;
      return () => {
        held = undefined;
        resolve();
      };
    },
  };
}
