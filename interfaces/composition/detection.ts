import type { Container } from 'inversify';
import { announce } from '../../application/detection/announcing.ts';
import { sendToHooks } from '../../application/detection/sending.ts';
import { noticeSilence } from '../../application/detection/silence.ts';
import { toleranceMilliseconds } from '../../infrastructure/config/variable-forms.ts';
import { announcedAlarms } from '../../infrastructure/metrics/detection-metrics.ts';
import { triedDeliveries } from '../../infrastructure/metrics/hook-metrics.ts';
import { services as s } from './services.ts';

/** Appends alarms to the event store until `signal` is aborted. */
export async function runAnnouncing(container: Container, signal: AbortSignal): Promise<void> {
  const [config, records, eventStore, registry, ids, clock, log, metrics] = await Promise.all([
    container.getAsync(s.config),
    container.getAsync(s.alarmRecords),
    container.getAsync(s.eventStore),
    container.getAsync(s.registry),
    container.getAsync(s.ids),
    container.getAsync(s.clock),
    container.getAsync(s.log),
    container.getAsync(s.metrics),
  ]);
  const onAnnounced = announcedAlarms(metrics);
  const notifyWithin = toleranceMilliseconds(config.NOTIFY_WITHIN);
  const ports = { records, eventStore, registry, ids, clock, log, notifyWithin, onAnnounced };
  await announce(ports, signal);
}

/** Looks for silent devices until `signal` is aborted. */
export async function runNoticing(container: Container, signal: AbortSignal): Promise<void> {
  const config = await container.getAsync(s.config);
  if (config.DETECTION === 'off') return;
  const [source, progress, records, rules, registry, ids, clock, log] = await Promise.all([
    container.getAsync(s.telemetrySource),
    container.getAsync(s.freshness),
    container.getAsync(s.alarmRecords),
    container.getAsync(s.ruleBook),
    container.getAsync(s.registry),
    container.getAsync(s.ids),
    container.getAsync(s.clock),
    container.getAsync(s.log),
  ]);
  // Without what measures and bounds the intake of readings.
  const telemetryLog = () => container.getAsync(s.plainTelemetryLog);
  await noticeSilence({ source, progress, records, rules, telemetryLog, registry, ids, clock, log }, signal);
}

/** Sends alarms to hooks until `signal` is aborted. */
export async function runSending(container: Container, signal: AbortSignal): Promise<void> {
  const [deliveries, hooks, sender, alarms, ids, clock, log, metrics] = await Promise.all([
    container.getAsync(s.hookDeliveries),
    container.getAsync(s.hooks),
    container.getAsync(s.hookSender),
    container.getAsync(s.alarmQueries),
    container.getAsync(s.ids),
    container.getAsync(s.clock),
    container.getAsync(s.log),
    container.getAsync(s.metrics),
  ]);
  const onTried = triedDeliveries(metrics);
  const ports = { deliveries, hooks, sender, alarms, ids, clock, log, onTried, random: Math.random };
  await sendToHooks(ports, signal);
}
