import { formOf } from './json-fields.ts';
import type { ObservedCommand, ObservedReply } from './scenario.ts';

/** How positions, cursors and the like are written: callers keep them, and send them to a newer release. */
export function formNames(
  replies: readonly ObservedReply[],
  commands: readonly ObservedCommand[],
): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { headers, json, path } of replies) {
    for (const header of ['etag', 'fieldlog-position', 'fieldlog-lag', 'link'])
      for (const value of headers.get(header)?.split(',') ?? [])
        names.add(`header ${header}: ${formOf(value.replace(/cursor=[\w-]+/, 'cursor={cursor}'))}`);
    for (const [field, value] of textsOf(json)) {
      if (/^positions?$/.test(field)) names.add(`${field}: ${formOf(value)}`);
      if (field === 'next') names.add(`cursor of ${formOf(path.split('?')[0] ?? '')}: ${cursorForm(value)}`);
      if (field === 'token') names.add(`${field}: ${secretForm(value)}`);
      if (field === 'eventId' || field === 'stream') names.add(`${field}: ${formOf(value)}`);
    }
  }
  for (const { out } of commands)
    for (const [field, value] of textsOf(out === '' ? null : JSON.parse(out))) {
      if (field === 'key') names.add(`${field}: ${secretForm(value)}`);
      if (/^positions?$/.test(field)) names.add(`${field}: ${formOf(value)}`);
    }
  return names;
}

/** Every text in a JSON value, by the name of its field. */
function textsOf(value: unknown, field = ''): readonly (readonly [field: string, text: string])[] {
  if (typeof value === 'string') return [[field, value]];
  if (Array.isArray(value)) return value.flatMap((item) => textsOf(item, field));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => textsOf(inner, key));
}

/** Sixteen characters of a digest, then JSON. */
function cursorForm(cursor: string): string {
  const [, json] = /^[0-9a-f]{16}(.*)$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (json === undefined || !isJson(json)) return 'unknown';
  const key: unknown = JSON.parse(json);
  const form = typeof key === 'object' && key !== null ? `{${Object.keys(key)}}` : typeof key;
  return `base64url of {digest} and ${form}`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** `flk_NAME.SECRET`, both base64url. */
const secretForm = (secret: string): string =>
  secret.replace(/^(\w{3})_([\w-]+)\.[\w-]{43}$/, (_, prefix, whose) =>
    Buffer.from(whose, 'base64url')
      .toString()
      .match(/^(d-\w+|operator|reader)$/)
      ? `${prefix}_{subject}.{secret}`
      : secret,
  );
