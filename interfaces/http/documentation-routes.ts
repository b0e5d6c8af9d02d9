import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { openApi } from './openapi.ts';
import { HttpProblem } from './problems.ts';
import { type Route, route } from './route.ts';

const swaggerUi = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
const assets = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'];

/** The page has no inline script or style, so the strictest content security policy will do. */
const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Fieldlog API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
  </head>
  <body>
    <div id="api"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

const start = `SwaggerUIBundle({
  url: '/openapi.json', dom_id: '#api', deepLinking: true, validatorUrl: null,
  requestInterceptor: (request) => Object.assign(request, { headers: { 'X-Requested-With': 'docs', ...request.headers } }),
});
`;

/** Serves the OpenAPI document and its page; `others` are the documented routes. */
export function documentationRoutes(others: readonly Route[], version: string): readonly Route[] {
  const routes: readonly Route[] = [
    route({
      method: 'get',
      path: '/openapi.json',
      scope: 'public',
      tag: 'Operation',
      summary: 'Get this document (OpenAPI 3.1)',
      responses: {
        200: {
          description: 'The document.',
          content: { 'application/json': z.record(z.string(), z.unknown()) },
        },
      },
      async handle({ res }) {
        res.type('application/json').end(document());
        return undefined;
      },
    }),

    route({
      method: 'get',
      path: '/docs',
      scope: 'public',
      tag: 'Operation',
      summary: 'Interactive API documentation',
      responses: { 200: { description: 'A page.', content: { 'text/html': z.string() } } },
      async handle({ res }) {
        res.type('text/html').end(page);
        return undefined;
      },
    }),

    route({
      method: 'get',
      path: '/docs/:asset',
      scope: 'public',
      tag: 'Operation',
      summary: 'Assets of the documentation page',
      params: z.strictObject({ asset: z.string() }),
      responses: {
        200: {
          description: 'Script, style or image.',
          content: {
            'text/javascript': z.string(),
            'text/css': z.string(),
            'image/png': z.string(),
          },
        },
      },
      problems: ['not-found'],
      async handle({ res, params: { asset } }) {
        if (asset === 'start.js') res.type('text/javascript').end(start);
        else if (assets.includes(asset)) res.sendFile(join(swaggerUi, asset), { maxAge: '1h' });
        else throw new HttpProblem('not-found', 'The documentation is at /docs');
        return undefined;
      },
    }),
  ];
  let written: string | undefined;
  const document = () => (written ??= JSON.stringify(openApi([...others, ...routes], version)));
  return routes;
}
