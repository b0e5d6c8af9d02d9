import { z } from 'zod';
import { type Fault, faultsTold, invalidRequest } from './problems.ts';

/** What `schema` makes of `value`; adds what is wrong with it to `faults` when it is not valid. */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: Fault['in'],
  faults: Fault[],
): z.output<Schema> | undefined {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  faults.push(...result.error.issues.flatMap((issue) => faultsOf(issue, where, [])));
  return undefined;
}

export function refuseFaults(faults: readonly Fault[]): void {
  if (faults.length > 0) throw invalidRequest(faults);
}

/** Everything that keeps one value of the body from being what `schema` describes; `at` is where it stands. */
export function explain(schema: z.ZodType, value: unknown, at: readonly PropertyKey[]): readonly Fault[] {
  const { error } = schema.safeParse(value, { reportInput: true });
  return error ? error.issues.flatMap((issue) => faultsOf(issue, 'body', at)) : [];
}

function faultsOf(issue: z.core.$ZodIssue, where: Fault['in'], at: readonly PropertyKey[]): Fault[] {
  const path = [...at, ...issue.path];
  if (issue.code === 'unrecognized_keys')
    return issue.keys
      .slice(0, faultsTold)
      .map((key) => ({ in: where, path: pointer([...path, key]), detail: 'is not known here' }));
  const [ofKey] = issue.code === 'invalid_key' ? issue.issues : [];
  const missing = 'input' in issue && issue.input === undefined && issue.code === 'invalid_type';
  const detail = `${missing ? 'is missing: ' : ''}${ofKey?.message ?? issue.message}`;
  return [{ in: where, path: pointer(path), detail }];
}

/** JSON Pointer, RFC 6901. */
const pointer = (path: readonly PropertyKey[]): string =>
  path.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

/**
 * A map of names to values, as `z.record`, but one that has too many is not looked into, and a member called
 * `__proto__`, which a record drops without a word, is refused like any other name that `key` does not allow.
 */
export function nameMap<Key extends z.core.$ZodRecordKey, Value extends z.ZodType>(
  key: Key,
  value: Value,
  { most, keyError, countError }: { most: number; keyError: string; countError: string },
) {
  return z.preprocess(
    (map, context) => {
      if (typeof map !== 'object' || map === null) return map;
      if (Object.hasOwn(map, '__proto__'))
        context.addIssue({ code: 'custom', path: ['__proto__'], message: keyError, input: map });
      if (Object.keys(map).length > most)
        context.addIssue({ code: 'custom', message: countError, input: map });
      return map;
    },
    z.record(key, value, { error: 'must be an object' }),
  );
}
