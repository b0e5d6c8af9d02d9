import assert from 'node:assert/strict';
import { z } from 'zod';
import { type Call, type HttpClient, httpClient, type Reply } from './http-client.ts';

type Document = {
  readonly paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema: object }> }> }>
  >;
  readonly components: { readonly schemas: Record<string, object> };
};

/** By their text: most servers of a test run answer with the same document. */
const documents = new Map<
  string,
  { readonly document: Document; readonly schemas: Map<object, z.ZodType> }
>();

/** A client that holds every answer to what the API's own OpenAPI document says of it. */
export async function checkedClient(url: string): Promise<HttpClient> {
  const call = httpClient(url);
  const { text, json } = await call('GET', '/openapi.json');
  const known = documents.get(text) ?? { document: json as Document, schemas: new Map() };
  documents.set(text, known);
  const { document, schemas } = known;

  return async (method: string, path: string, sent?: Call): Promise<Reply> => {
    const reply = await call(method, path, sent);
    const type = reply.headers.get('Content-Type')?.split(';')[0] ?? '';
    const documented = operationOf(method, path).responses[reply.status];
    assert.ok(documented, `${method} ${path} does not say that it answers ${reply.status}: ${reply.text}`);
    if (reply.text === '') return reply;
    const content = documented.content?.[type];
    assert.ok(content, `${method} ${path} does not say that it answers ${type}`);
    if (reply.json === undefined) return reply;
    const { error } = schemaOf(content.schema).safeParse(reply.json);
    assert.equal(error && z.prettifyError(error), undefined, `${method} ${path}: ${reply.text}`);
    return reply;
  };

  function operationOf(method: string, path: string) {
    const parts = (path.split('?')[0] ?? '').split('/');
    const fits = (template: string) => {
      const wanted = template.split('/');
      return (
        wanted.length === parts.length && wanted.every((part, i) => part.startsWith('{') || part === parts[i])
      );
    };
    const verb = method.toLowerCase();
    const verbatim = document.paths[parts.join('/')]?.[verb];
    const fitting = Object.entries(document.paths).filter(([template]) => fits(template));
    const operation = verbatim ?? fitting.map(([, operations]) => operations[verb]).find((one) => one);
    assert.ok(operation, `${method} ${path} is not in the OpenAPI document`);
    return operation;
  }

  function schemaOf(schema: object): z.ZodType {
    const before = schemas.get(schema);
    if (before) return before;
    const whole = JSON.stringify({ ...schema, $defs: document.components.schemas });
    const made = z.fromJSONSchema(JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/')));
    schemas.set(schema, made);
    return made;
  }
}
