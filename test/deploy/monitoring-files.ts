import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root, yamlFile } from './yaml-file.ts';

export type Alert = {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
};
export type Recording = { readonly record: string; readonly expr: string };

type Rules<Rule> = { readonly groups: readonly { readonly rules: readonly Rule[] }[] };

export const recordings: readonly Recording[] = rulesOf<Recording>('recording.yml');
export const alerts: readonly Alert[] = rulesOf<Alert>('alerts.yml');

function rulesOf<Rule>(file: string): readonly Rule[] {
  return yamlFile<Rules<Rule>>(`deploy/prometheus/${file}`).groups.flatMap(({ rules }) => rules);
}

export type Panel = {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[];
  readonly fieldConfig?: {
    readonly defaults: {
      readonly thresholds?: { readonly steps: readonly { readonly value: number | null }[] };
    };
  };
};

export const panels: readonly Panel[] = JSON.parse(
  readFileSync(path.join(root, 'deploy/grafana/dashboards/fieldlog.json'), 'utf8'),
).panels;

/** Every query of the dashboard, with an interval where Grafana would set one. */
export const queries: readonly string[] = panels.flatMap(({ targets = [] }) =>
  targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '1m')),
);
