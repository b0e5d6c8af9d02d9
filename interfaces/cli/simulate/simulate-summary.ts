import { count, counted, perSecond, seconds } from '../format.ts';
import type { Checked } from './check-fleet.ts';
import type { Fleet } from './fleet.ts';
import type { Sent } from './send-fleet.ts';

/** Without what was checked where nothing was. */
export type SimulationReport = {
  readonly url: string;
  readonly seed: number;
  readonly devices: number;
  readonly seconds: number;
  readonly planned: number;
  readonly accepted: number;
  /** Accepted at least once. */
  readonly distinct: number;
  readonly rejected: number;
  readonly rejections: Readonly<Record<string, number>>;
  readonly sentTwice: number;
  readonly sentLate: number;
  readonly requests: number;
  readonly milliseconds: Readonly<Record<'p50' | 'p95' | 'p99' | 'max', number>>;
} & Partial<Checked>;

export function simulationReport(
  plan: { readonly url: string; readonly seed: number; readonly planned: number },
  fleet: Fleet,
  sent: Sent,
  milliseconds: number,
  checked: Partial<Checked>,
): SimulationReport {
  const { accepted, distinct, rejected, requests } = sent;
  return {
    ...plan,
    devices: fleet.devices.length,
    seconds: Math.round(milliseconds) / 1000,
    accepted,
    distinct,
    rejected,
    rejections: Object.fromEntries(sent.rejections),
    sentTwice: fleet.sentTwice,
    sentLate: fleet.sentLate,
    requests,
    milliseconds: latencyOf(sent),
    ...checked,
  };
}

export function simulationProgress({ accepted, rejected, ...sent }: Sent, milliseconds: number): string {
  const rate = perSecond(accepted, milliseconds);
  return `${seconds(milliseconds)}, ${count(accepted)} accepted, ${count(rejected)} rejected, ${rate}, ${latencyText(latencyOf(sent))}`;
}

const shownDifferences = 20;

export function simulationSummary(report: SimulationReport): string {
  const { accepted, distinct, planned, rejected, differences, ledger } = report;
  const milliseconds = report.seconds * 1000;
  const told = [
    `Sent ${counted(distinct, 'reading')} of ${counted(report.devices, 'device')} in ${seconds(milliseconds)}, ` +
      `${perSecond(distinct, milliseconds)}: ${report.url}`,
    `accepted ${count(accepted)} with ${count(report.sentTwice)} sent twice and ${count(report.sentLate)} late, ` +
      `rejected ${count(rejected)}, ${counted(report.requests, 'request')}, ${latencyText(report.milliseconds)}`,
  ];
  if (distinct + rejected < planned)
    told.push(`That is less than the ${counted(planned, 'reading')} there were to send.`);
  for (const [reason, readings] of Object.entries(report.rejections))
    told.push(`  ${count(readings)}: ${reason}`);
  if (differences?.length === 0)
    told.push(`All ${counted(distinct, 'reading')} were found by query, value by value.`);
  if (ledger)
    told.push(
      `The ledger counts ${count(ledger.stored)} stored, ${count(ledger.duplicate)} duplicate, ` +
        `${count(ledger.corrected)} corrected, ${count(ledger.deadLettered)} dead-lettered.`,
    );
  if (differences && differences.length > 0) told.push(`${counted(differences.length, 'difference')}:`);
  for (const difference of differences?.slice(0, shownDifferences) ?? []) told.push(`  ${difference}`);
  return `${told.join('\n')}\n`;
}

function latencyOf({ latency }: Pick<Sent, 'latency'>): SimulationReport['milliseconds'] {
  const [p50 = 0, p95 = 0, p99 = 0] = [50, 95, 99].map((share) => latency.percentile(share) / 1000);
  return { p50, p95, p99, max: latency.max / 1000 };
}

const latencyText = ({ p50, p95, p99 }: SimulationReport['milliseconds']): string =>
  `answered in p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)} ms`;
