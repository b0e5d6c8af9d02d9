import { registeredMetrics } from '../../deploy/registered-metrics.ts';
import type { CollectedSpan } from '../trace-collector.ts';
import { context } from './scenario.ts';

/** Metrics of Fieldlog's own with their labels, from those that are registered and a text that Prometheus would read. */
export function metricNames(text: string): ReadonlySet<string> {
  const labels = new Map<string, Set<string>>();
  const note = (series: string, of: Iterable<string>) => {
    if (series.startsWith('fieldlog_')) labels.set(series, new Set([...(labels.get(series) ?? []), ...of]));
  };
  for (const [series, of] of registeredMetrics()) note(series, of);
  for (const line of text.split('\n')) {
    const [, series = '', inBraces = ''] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
    note(
      series,
      [...inBraces.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
    );
    const [, family = '', type = ''] = /^# TYPE (\w+) (\w+)$/.exec(line) ?? [];
    if (type === 'gauge' || type === 'counter') note(family, []);
  }
  return new Set([...labels].map(([series, of]) => `${series}{${[...of].sort().join(',')}}`));
}

/** Attributes whose values are names. */
const named = new Set([
  'fieldlog.projection',
  'messaging.system',
  'messaging.destination.name',
  'messaging.operation.name',
  'messaging.operation.type',
]);

/** Spans with their attributes; a request's span is named by its method and route. */
export function spanNames(spans: readonly CollectedSpan[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { name, kind, attributes, resource, traceId, traceState } of spans) {
    if (context.traceparent.includes(traceId)) names.add('every request: header traceparent');
    if (traceState === context.tracestate) names.add('every request: header tracestate');
    const { 'http.request.method': method, 'http.route': route } = attributes;
    const span = name === `${method} ${route}` ? '{method} {route}' : name === method ? '{method}' : name;
    for (const [attribute, value] of Object.entries(attributes))
      names.add(`${kind} ${span}: ${attribute}${named.has(attribute) ? ` = ${value}` : ''}`);
    for (const attribute of Object.keys(resource)) names.add(`resource: ${attribute}`);
    names.add(`resource: service.name = ${resource['service.name']}`);
  }
  return names;
}
