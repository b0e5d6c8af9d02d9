import { z } from 'zod';
import { type ProblemKind, problemKinds, problemType } from './problems.ts';
import { correlationHeader } from './request-context.ts';
import type { ResponseSpec, Route } from './route.ts';

type Json = Record<string, unknown>;

const problem = z
  .object({
    type: z.string().meta({ description: 'Which problem it is; stable. See docs/api-problems.md.' }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string().meta({ description: 'The address that was called.' }),
    correlationId: z.string().meta({ description: 'Finds the request in the logs.' }),
    errors: z
      .array(
        z.object({
          in: z.enum(['body', 'path', 'query', 'header']),
          path: z.string().meta({ description: 'JSON Pointer into that part of the request.' }),
          detail: z.string(),
        }),
      )
      .optional()
      .meta({ description: 'Everything that is not valid.' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457.' });

const tags: Readonly<Record<Route['tag'], string>> = {
  Devices: 'Registration, changes and history of devices.',
  Telemetry: 'Readings that devices send, and the points and buckets made of them.',
  Alarms: 'Rules that watch readings, and the alarms they raise.',
  Operation: 'Health, progress and repair of read models, and this documentation.',
};

/** OpenAPI 3.1 of the routes, made of the very schemas that check requests. */
export function openApi(routes: readonly Route[], version: string): Json {
  const operations = new OpenApiOperations();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method]: operations.operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Fieldlog',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      contact: { name: 'Fieldlog' },
      description: 'Event-sourced devices and their telemetry.',
    },
    servers: [{ url: '/', description: 'The server that this document comes from.' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths,
    components: { schemas: operations.schemas, securitySchemes },
  };
}

const securitySchemes = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key, or where it says so a device token or the token for metrics.',
  },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'The same.' },
  basic: {
    type: 'http',
    scheme: 'basic',
    description: 'The same as the password, with any user name.',
  },
  token: {
    type: 'apiKey',
    in: 'header',
    name: 'Authorization',
    description: 'The same, as `Token …`, which clients of InfluxDB send.',
  },
  passwordParameter: { type: 'apiKey', in: 'query', name: 'p', description: 'The same.' },
};

/** Operations of routes. Named schemas are written once, into `schemas`. */
class OpenApiOperations {
  readonly schemas: Record<string, unknown> = {};

  operation(route: Route): Json {
    const { tag, summary, description, body } = route;
    const text = [description, permission(route)].filter((part) => part !== undefined).join(' ');
    return {
      operationId: route.operationId ?? operationId(route),
      tags: [tag],
      summary,
      description: text === '' ? `${summary}.` : text,
      // Scopes in `security` are for OAuth alone.
      security: route.scope === 'public' ? [] : [{ bearer: [] }, { apiKey: [] }, ...elsewhere(route)],
      ...(route.scope !== 'public' && {
        'x-required-scopes': route.scope === 'any' ? [] : [route.scope],
        'x-bound-keys': route.boundKeys ?? 'refused',
      }),
      parameters: [
        ...this.#parameters('path', route.params),
        ...this.#parameters('query', route.query),
        ...this.#parameters('header', route.headers),
      ],
      ...(body && { requestBody: this.#requestBody(body) }),
      responses: this.#responsesOf(route),
    };
  }

  #parameters(where: 'path' | 'query' | 'header', schema: z.ZodObject | undefined): Json[] {
    if (!schema) return [];
    const { properties = {}, required = [] } = this.#jsonSchema(schema) as {
      properties?: Record<string, Json>;
      required?: string[];
    };
    return Object.entries(properties).map(([name, { description, ...rest }]) => ({
      name: where === 'header' ? headerName(name) : name,
      in: where,
      required: required.includes(name),
      ...(description !== undefined && { description }),
      schema: rest,
    }));
  }

  #requestBody(body: NonNullable<Route['body']>): Json {
    if (body.as === 'json')
      return {
        required: !body.optional,
        content: { 'application/json': { schema: this.#jsonSchema(body.schema) } },
      };
    if (body.as === 'bytes')
      return {
        required: !body.optional,
        description: body.description,
        content: Object.fromEntries(body.types.map((type) => [type, { schema: {} }])),
      };
    const item = this.#jsonSchema(body.item);
    const items = { type: 'array', items: item, minItems: 1 };
    const schemaOf: Readonly<Record<string, Json>> = {
      'application/json': body.alone ? { anyOf: [item, items] } : items,
      'application/x-ndjson': item,
    };
    const content = body.types.map((type) => [type, { schema: schemaOf[type] ?? {} }]);
    return { required: true, description: body.description, content: Object.fromEntries(content) };
  }

  /** A status may stand for a problem and for something of the protocol's own. */
  #responsesOf(route: Route): Record<string, Json> {
    const responses: Record<string, Json> = this.#problemResponses(route);
    for (const [status, spec] of Object.entries(route.responses)) {
      const own = this.#response(spec);
      const problem = responses[status];
      responses[status] = problem
        ? {
            ...own,
            description: `${own.description} ${problem.description}`,
            content: { ...(own.content as Json), ...(problem.content as Json) },
          }
        : own;
    }
    return responses;
  }

  #response({ description, content = {}, headers = {} }: ResponseSpec): Json {
    const all = { ...headers, [correlationHeader]: 'The id of the request in the logs.' };
    return {
      description,
      headers: Object.fromEntries(
        Object.entries(all).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
      ),
      content: Object.fromEntries(
        Object.entries(content).map(([type, schema]) => [type, { schema: this.#jsonSchema(schema) }]),
      ),
    };
  }

  #problemResponses(route: Route): Record<string, Json> {
    const kinds = Map.groupBy(problemsOf(route), (kind) => problemKinds[kind].status);
    const entries = [...kinds].map(([status, problems]) => [
      status,
      {
        description: problems
          .map((kind) => `${problemKinds[kind].title}: \`${problemType(kind)}\`.`)
          .join(' '),
        content: { 'application/problem+json': { schema: this.#jsonSchema(problem) } },
      },
    ]);
    return Object.fromEntries(entries);
  }

  #jsonSchema(schema: z.ZodType): Json {
    const { root, named } = jsonSchemas.get(schema) ?? toJsonSchema(schema);
    Object.assign(this.schemas, named);
    return root;
  }
}

/** Of schemas that were converted before: a few, that of problems above all, are those of hundreds of answers. */
const jsonSchemas = new WeakMap<z.ZodType, JsonSchema>();

/** A schema, and the schemas with names that it refers to. */
type JsonSchema = { readonly root: Json; readonly named: Json };

function toJsonSchema(schema: z.ZodType): JsonSchema {
  const { $schema: _, $defs = {}, ...root } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const converted = { root: toComponents(root), named: toComponents($defs) };
  jsonSchemas.set(schema, converted);
  return converted;
}

const toComponents = (schema: Json): Json =>
  JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/'));

/** What a route declares, and what follows from the form it has. */
function problemsOf({
  method,
  scope,
  params,
  query,
  headers,
  body,
  problems = [],
}: Route): readonly ProblemKind[] {
  const ofBody = [
    'malformed-json',
    'malformed-encoding',
    'body-too-large',
    'unsupported-media-type',
  ] as const;
  const takesInput = params ?? query ?? headers ?? body;
  return [
    ...new Set<ProblemKind>([
      ...(scope === 'public'
        ? []
        : (['key-required', 'scope-missing', 'outside-key', 'rate-limited'] as const)),
      ...(takesInput
        ? (['invalid-request', 'dependency-unavailable', 'storage-full', 'storage-damaged'] as const)
        : []),
      ...(body ? ofBody : []),
      ...(method === 'get' ? [] : (['unsupported-media-type', 'foreign-origin'] as const)),
      'wrong-host',
      ...problems,
      'internal-error',
    ]),
  ];
}

const others = {
  'device-token': ', or the token of the device the readings are of',
  'metrics-token': ', or the token for metrics',
} as const;

const permission = ({ scope, alsoAccepts: orBy }: Route): string | undefined =>
  scope === 'public'
    ? undefined
    : `Once there are API keys, needs one${scope === 'any' ? '' : ` of the scope \`${scope}\``}${orBy ? others[orBy] : ''}.`;

const schemes = {
  'token-scheme': 'token',
  'basic-password': 'basic',
  'query-p': 'passwordParameter',
  'path-token': undefined,
} as const;

/** A token in the path is a parameter already. */
const elsewhere = ({ alsoShownAs = [] }: Route): Json[] =>
  alsoShownAs.flatMap((place) => {
    const scheme = schemes[place];
    return scheme === undefined ? [{}] : [{ [scheme]: [] }];
  });

const operationId = ({ method, path }: Route): string =>
  [method, ...path.split('/').filter((part) => part !== 'api' && part !== 'v1' && part !== '')]
    .map((part) => part.replaceAll(/\W/g, ''))
    .map((part, i) => (i === 0 ? part : part.charAt(0).toUpperCase() + part.slice(1)))
    .join('');

const headerName = (name: string): string => name.replaceAll(/(^|-)[a-z]/g, (start) => start.toUpperCase());
