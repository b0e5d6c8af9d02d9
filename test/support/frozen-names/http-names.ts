import assert from 'node:assert/strict';
import { HistoryExpired } from '../../../application/rebuild/expired-history.ts';
import { problemKinds, problemOf, problemType } from '../../../interfaces/http/problems.ts';
import { fieldsOf } from './json-fields.ts';
import { context, type ObservedReply } from './scenario.ts';

type Schema = {
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
};
type Content = { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> };
type Operation = {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly 'x-required-scopes'?: readonly string[];
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content & { readonly headers?: object }>>;
};
export type OpenApi = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly securitySchemes: Readonly<Record<string, Readonly<Record<string, string>>>>;
  };
};

const problemBody = 'application/problem+json';

/** What the OpenAPI document declares, without its prose. */
export function httpNames(document: OpenApi): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [path, operations] of Object.entries(document.paths))
    for (const [method, operation] of Object.entries(operations)) {
      const route = `${method.toUpperCase()} ${path}`;
      for (const name of operationNames(document, operation)) names.add(`${route} ${name}`);
    }
  for (const name of Object.keys(document.components.schemas)) names.add(`schema ${name}`);
  for (const [name, scheme] of Object.entries(document.components.securitySchemes))
    names.add(`security ${name}: ${scheme.type} ${scheme.scheme ?? `${scheme.in} ${scheme.name}`}`);
  return names;
}

/** What answers have that the OpenAPI document does not declare. */
export function answerNames(document: OpenApi, replies: readonly ObservedReply[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const reply of replies) {
    const route = `${reply.method} ${templateOf(document, reply)} ${reply.status}`;
    for (const name of replyNames(reply)) names.add(`${route} ${name}`);
    if (reply.status === 200 && reply.headers.get('X-Correlation-Id') === context['X-Correlation-Id'])
      names.add('every request: header x-correlation-id').add('every request: header authorization: Bearer');
  }
  const declared = httpNames(document);
  return new Set([...names].filter((name) => !declared.has(name)));
}

/** Types of problems with their status, and what their answers have. */
export function problemNames(document: OpenApi, replies: readonly ObservedReply[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [kind, { status }] of Object.entries(problemKinds) as [
    keyof typeof problemKinds,
    { status: number },
  ][])
    names.add(`${problemType(kind)} ${status}`);
  const common = new Set(schemaNames(document, document.components.schemas.Problem ?? {}, ''));
  for (const name of common) names.add(`every problem: ${name}`);
  for (const { status, json, headers } of replies) {
    if (!headers.get('Content-Type')?.startsWith(problemBody)) continue;
    assert.ok(names.has(`${json.type} ${status}`), `${json.type} ${status} is no kind of problem`);
    for (const name of fieldsOf(json)) if (!common.has(name)) names.add(`${json.type} ${name}`);
  }
  // Only Kafka loses history, by its own retention.
  const expired = problemOf(new HistoryExpired('telemetry', 1, 0));
  for (const name of fieldsOf(expired.extras.members)) names.add(`${problemType(expired.kind)} ${name}`);
  return names;
}

function operationNames(document: OpenApi, operation: Operation): readonly string[] {
  const { operationId, tags, parameters, requestBody, responses } = operation;
  const { 'x-required-scopes': scopes = [] } = operation;
  return [
    `operation ${operationId}`,
    ...tags.map((tag) => `tag ${tag}`),
    ...(scopes.length === 0 ? ['public'] : scopes.map((scope) => `scope ${scope}`)),
    ...parameters.flatMap(({ name, in: where, schema }) =>
      schemaNames(
        document,
        { properties: { [where === 'header' ? name.toLowerCase() : name]: schema } },
        '',
      ).map((path) => `${where} ${path}`),
    ),
    ...contentNames(document, requestBody).map((name) => `body ${name}`),
    ...Object.entries(responses).flatMap(([status, response]) =>
      [
        ...Object.keys(response.headers ?? {}).map((name) => `header ${name.toLowerCase()}`),
        ...contentNames(document, response),
      ].map((name) => `${status} ${name}`),
    ),
  ];
}

function contentNames(document: OpenApi, { content = {} }: Content = {}): readonly string[] {
  return Object.entries(content).flatMap(([type, { schema }]) => [
    type,
    // What every problem has is said once.
    ...(type === problemBody ? [] : schemaNames(document, schema, '').map((path) => `${type} ${path}`)),
  ]);
}

/** Paths of the fields of a schema, and of their values where those are names themselves. */
function schemaNames(document: OpenApi, schema: Schema, at: string): readonly string[] {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split('/').at(-1) ?? '';
    return schemaNames(document, document.components.schemas[name] ?? {}, at);
  }
  const { properties = {}, additionalProperties, items, anyOf = [], oneOf = [], allOf = [] } = schema;
  const values = [...(schema.enum ?? []), ...(schema.const === undefined ? [] : [schema.const])];
  const inner = (path: string, one: Schema) => schemaNames(document, one, path);
  return [
    ...values.map((value) => `${at} = ${JSON.stringify(value)}`),
    ...Object.entries(properties).flatMap(([name, one]) => {
      const path = at === '' ? name : `${at}.${name}`;
      return [path, ...inner(path, one)];
    }),
    ...(typeof additionalProperties === 'object' ? inner(`${at}.{}`, additionalProperties) : []),
    ...(items ? inner(`${at}[]`, items) : []),
    ...[...anyOf, ...oneOf, ...allOf].flatMap((one) => inner(at, one)),
  ];
}

/** The path of the document that the call is of; `{}` for one that there is not. */
function templateOf({ paths }: OpenApi, { path }: ObservedReply): string {
  const parts = (path.split('?')[0] ?? '').split('/');
  const fits = (template: string) => {
    const wanted = template.split('/');
    return (
      wanted.length === parts.length && wanted.every((part, i) => part.startsWith('{') || part === parts[i])
    );
  };
  const verbatim = parts.join('/');
  return verbatim in paths ? verbatim : (Object.keys(paths).find(fits) ?? '{}');
}

/** Of HTTP, of Node, or of the browser's security: everyone's. */
const notOwn =
  /^(connection|content-(length|security-policy|type)|cross-origin-.*|date|keep-alive|origin-agent-cluster|referrer-policy|strict-transport-security|transfer-encoding|x-(content-type-options|dns-prefetch-control|download-options|frame-options|permitted-cross-domain-policies|xss-protection))$/;

function replyNames({ headers, json, text }: ObservedReply): readonly string[] {
  const type = headers.get('Content-Type')?.split(';')[0] ?? '';
  const own = [...headers.keys()].filter((name) => !notOwn.test(name)).map((name) => `header ${name}`);
  const trailers = headers.get('Trailer')?.split(',') ?? [];
  return [...own, ...trailers.map((name) => `trailer ${name.trim().toLowerCase()}`), ...body()];

  function body(): readonly string[] {
    if (type === problemBody) return [type];
    if (type === 'text/csv')
      return (text.split(/\r?\n/)[0] ?? '').split(',').map((column) => `${type} ${column}`);
    const values =
      type === 'application/x-ndjson'
        ? text
            .split('\n')
            .filter(Boolean)
            .map((line) => JSON.parse(line))
        : [json];
    return isDocument(json)
      ? []
      : values.flatMap((value) => fieldsOf(value)).map((path) => `${type} ${path}`);
  }
}

const isDocument = (json: unknown): boolean => typeof json === 'object' && json !== null && 'openapi' in json;
