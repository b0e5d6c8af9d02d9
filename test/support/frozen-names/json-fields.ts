/** Keys that the scenario gives itself, or that `fieldlog simulate` gives its fleet: no names of Fieldlog's. */
const given: ReadonlyMap<string, string> = new Map([
  ...['metricOne', 'metricTwo', 'battery', 'humidity', 'temperature', 'windowOpen'].map(
    (metric) => [metric, '{metric}'] as const,
  ),
  ['labelOne', '{label}'],
  ['left out', '{column}'],
]);

/** The names of the fields of a JSON value, as paths: `points[].value`. */
export function fieldsOf(value: unknown, at = ''): readonly string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((item) => fieldsOf(item, `${at}[]`)))];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const path = `${at}${at === '' ? '' : '.'}${given.get(key) ?? key}`;
    return [path, ...fieldsOf(inner, path)];
  });
}

/** The fields of a text that is a JSON object or array, none of any other. */
export function fieldsOfText(text: unknown): readonly string[] {
  if (typeof text !== 'string' || !/^[[{]/.test(text)) return [];
  return fieldsOf(JSON.parse(text));
}

/** A text with what differs from run to run left out: `devices:0:17` is `devices:#:#`. */
export const formOf = (text: string): string =>
  text
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '{uuid}')
    .replaceAll(/\b(d-\w+|sim-\d+-\d+)/g, '{device}')
    .replaceAll(/(?<![a-z\d])\d+/g, '#');
