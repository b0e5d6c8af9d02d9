import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { scopes } from '../../application/ports/api-keys.ts';
import { HttpProblem } from './problems.ts';
import { type Route, route } from './route.ts';

const own = fileURLToPath(new URL('dashboard', import.meta.url));
const required = createRequire(import.meta.url);

const modules = [
  'alarms',
  'api',
  'chart',
  'device',
  'elements',
  'first-steps',
  'fleet',
  'hooks',
  'import',
  'live',
  'live-hub',
  'live-worker',
  'main',
  'measured',
  'operations',
  'page',
  'points',
  'rules',
  'series',
  'table',
  'transport',
];

/** Where each file of the page is; nothing of it is built, and nothing comes from another host. */
const files: Readonly<Record<string, string>> = {
  ...Object.fromEntries(modules.map((name) => [`${name}.js`, join(own, `${name}.js`)])),
  'style.css': join(own, 'style.css'),
  'lit-html.js': required.resolve('lit-html'),
  'uplot.js': join(dirname(required.resolve('uplot')), 'uPlot.esm.js'),
  'uplot.css': join(dirname(required.resolve('uplot')), 'uPlot.min.css'),
};

/** What the bearer of a credential may do: pages hide what they may not. */
const accessAnswer = z.strictObject({
  actor: z.string().meta({ description: 'The name of the key; `anonymous` while there are no keys.' }),
  scopes: z.array(z.enum(scopes)),
  isBound: z.boolean().meta({ description: 'The key is for a part of the fleet.' }),
  mqtt: z
    .strictObject({ port: z.int(), tls: z.boolean() })
    .nullable()
    .meta({ description: 'Where this server takes readings by MQTT; null where it does not.' }),
});

export type MqttEndpoint = { readonly port: number; readonly tls: boolean };

/** The dashboard, and the call by which it knows what its key may do. */
export const dashboardRoutes = (mqtt: () => MqttEndpoint | undefined): readonly Route[] => [
  route({
    method: 'get',
    path: '/',
    scope: 'public',
    tag: 'Operation',
    summary: 'The dashboard',
    responses: { 200: { description: 'A page.', content: { 'text/html': z.string() } } },
    async handle({ res }) {
      // Checked by its ETag each time, so that a new release is there at once.
      res.sendFile(join(own, 'index.html'), { maxAge: 0 });
      return undefined;
    },
  }),

  route({
    method: 'get',
    path: '/dashboard/:asset',
    scope: 'public',
    tag: 'Operation',
    summary: 'Assets of the dashboard',
    params: z.strictObject({
      asset: z.string().meta({ description: 'The name of a file.', examples: ['main.js'] }),
    }),
    responses: {
      200: {
        description: 'Script or style.',
        content: { 'text/javascript': z.string(), 'text/css': z.string() },
      },
    },
    problems: ['not-found'],
    async handle({ res, params: { asset } }) {
      const file = Object.hasOwn(files, asset) ? files[asset] : undefined;
      if (file === undefined) throw new HttpProblem('not-found', 'The dashboard is at /');
      res.sendFile(file, { maxAge: 0 });
      return undefined;
    },
  }),

  route({
    method: 'get',
    path: '/api/v1/access',
    scope: 'any',
    boundKeys: 'no-device',
    tag: 'Operation',
    summary: 'Get what the credential of this request may do',
    responses: {
      200: { description: 'As it is now.', content: { 'application/json': accessAnswer } },
    },
    async handle({ context: { identity, caller } }) {
      const key = identity.is === 'key' ? identity.key : undefined;
      return {
        status: 200,
        json: {
          actor: caller.actor,
          scopes: key?.scopes ?? scopes,
          isBound: key !== undefined && key.only !== null,
          mqtt: mqtt() ?? null,
        },
      };
    },
  }),
];
