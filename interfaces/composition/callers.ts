import type { Container } from 'inversify';
import { type Access, access } from '../http/access.ts';
import { type RateLimits, rateLimits } from '../http/rate-limits.ts';
import { refuseOpenAddress } from './listening.ts';
import { services as s } from './services.ts';

export type Callers = {
  readonly access: Access;
  readonly rates: RateLimits | undefined;
  /** Keeps up with the keys that are made and revoked, until `signal` is aborted. */
  follow(signal: AbortSignal): Promise<void>;
};

/** Who may call this process, and how often. Throws a `StartupError` where anybody could. */
export async function openCallers(
  container: Container,
  { isPublic }: { isPublic: boolean },
): Promise<Callers> {
  const config = await container.getAsync(s.config);
  const credentials = await container.getAsync(s.credentials);
  const directory = await container.getAsync(s.directory);
  const keys = await container.getAsync(s.keyRing);
  await keys.load();
  if (isPublic && !keys.isNeeded()) refuseOpenAddress(config);

  const rates = rateLimits({
    perKey: config.RATE_LIMIT_PER_KEY,
    perDevice: config.RATE_LIMIT_PER_DEVICE,
    burstSeconds: config.RATE_LIMIT_BURST_SECONDS,
  });
  const metricsToken = config.METRICS_TOKEN;
  return {
    access: access({ keys, credentials, directory, metricsToken, limits: rates }),
    rates,
    follow: (signal) => keys.follow(signal),
  };
}
