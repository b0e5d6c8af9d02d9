import type { Container } from 'inversify';
import type { Log } from '../../application/ports/system.ts';
import type { Config } from '../../infrastructure/config/config.ts';
import { StartupError } from '../../infrastructure/startup-error.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { type CertificateFiles, certificateFiles } from '../http/certificate-files.ts';
import { httpServer } from '../http/server.ts';
import { openCallers } from './callers.ts';
import { listen } from './listening.ts';
import { measure } from './measurements.ts';
import { recordedThreads } from './recorded-threads.ts';
import { replayOf } from './replay.ts';
import { replayThreads } from './replay-threads.ts';
import { services as s } from './services.ts';

export type Api = {
  readonly url: string;
  /** Stops taking requests, lets those under way finish, and stops following the event store. */
  close(): Promise<void>;
};

/** What the API answers for beside itself: the other threads of its process. */
type Beside = {
  readonly moreMetrics: readonly (() => Promise<string>)[];
  readonly stalled: () => readonly string[];
};

/** Without the read models readings and commands are taken as ever: only queries have to wait. */
const neededToAccept = ['eventStore', 'telemetryLog'];

const nothingBeside: Beside = { moreMetrics: [], stalled: () => [] };

/** The HTTP API and the device directory it asks. */
export async function startApi(container: Container, { moreMetrics, stalled } = nothingBeside): Promise<Api> {
  const [config, log, metrics, ids, commands, history, ingest, devices, telemetry, calendar, buckets, fresh] =
    await Promise.all([
      container.getAsync(s.config),
      container.getAsync(s.log),
      container.getAsync(s.metrics),
      container.getAsync(s.ids),
      container.getAsync(s.commands),
      container.getAsync(s.history),
      container.getAsync(s.ingest),
      container.getAsync(s.deviceQueries),
      container.getAsync(s.telemetryQueries),
      container.getAsync(s.calendar),
      container.getAsync(s.buckets),
      container.getAsync(s.freshness),
    ]);
  await measure(container);
  const checks = await container.getAllAsync(s.check);
  const directory = await container.getAsync(s.directory);
  const source = await container.getAsync(s.deviceSource);
  const credentials = await container.getAsync(s.credentials);
  const progress = await container.getAsync(s.progressQueries);
  const retention = await container.getAsync(s.retentionRecords);
  const erase = await container.getAsync(s.erase);
  const retract = await container.getAsync(s.retract);
  const recorded = recordedThreads(config);
  const replay = await replayOf(container, 'an operator by the API');
  const tasks = replayThreads(config);
  const tracing = container.isBound(s.tracing) ? await container.getAsync(s.tracing) : undefined;

  const files = certificateOf(config, log);
  const certificate = files?.read();
  const callers = await openCallers(container, { isPublic: true });
  const server = httpServer(
    {
      commands,
      history,
      ingest,
      retract,
      replay,
      tasks,
      credentials,
      access: callers.access,
      rates: callers.rates,
      devices,
      progress,
      retention,
      erase,
      telemetry,
      asRecorded: recorded.asRecorded,
      calendar,
      buckets,
      freshness: fresh,
      ids,
      log,
      metrics,
      moreMetrics,
      stalled,
      spans: tracing?.requests,
      checks: Object.fromEntries(checks.map(({ name, check }) => [name, check])),
      needed: neededToAccept,
    },
    { version: packageJson.version, maxBodyBytes: config.MAX_BODY_BYTES, certificate },
  );
  const unfollow = files?.follow((renewed) => server.renew(renewed));
  const url = await listen(server, config.PORT, config.HOST);
  const stopped = new AbortController();
  const keysFollowed = callers.follow(stopped.signal);
  const following = directory.follow(source, `directory-${ids.fresh()}`, stopped.signal);
  following.catch((err) => log.error({ err }, 'the device directory no longer follows the event store'));

  return {
    url,
    async close() {
      await server.close(config.SHUTDOWN_MS, config.SHUTDOWN_LEAD_MS);
      await Promise.all([tasks.close(), recorded.close()]);
      unfollow?.();
      stopped.abort();
      await keysFollowed;
      await following.catch(() => {});
    },
  };
}

function certificateOf({ TLS_CERT_FILE, TLS_KEY_FILE }: Config, log: Log): CertificateFiles | undefined {
  if (TLS_CERT_FILE === undefined && TLS_KEY_FILE === undefined) return undefined;
  if (TLS_CERT_FILE === undefined || TLS_KEY_FILE === undefined)
    throw new StartupError('TLS needs both TLS_CERT_FILE and TLS_KEY_FILE');
  return certificateFiles(TLS_CERT_FILE, TLS_KEY_FILE, log);
}
