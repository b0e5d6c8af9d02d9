// Exit code: whether the role in this container lives: the image has no curl. Liveness, not readiness:
// what ends unhealthy containers should not end those that wait for a server. It reads the role's own configuration,
// so it asks where the role listens, and by HTTPS when that is what it speaks.
// Usage: node health.mjs api|projector
import { once } from 'node:events';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { configFrom } from '../../infrastructure/config/config.ts';

const [role] = process.argv.slice(2);
const { HOST, PORT, WORKER_PORT, TLS_CERT_FILE } = configFrom(process.env);
const isSecure = role === 'api' && TLS_CERT_FILE !== undefined;
const anyAddress = { '0.0.0.0': '127.0.0.1', '::': '::1' };

try {
  const asked = (isSecure ? requestHttps : requestHttp)({
    host: anyAddress[HOST] ?? HOST,
    port: role === 'api' ? PORT : WORKER_PORT,
    path: '/health/live',
    signal: AbortSignal.timeout(4000),
    // Its own certificate, on its own machine: whom it is for and whether it is in date is for clients to judge.
    rejectUnauthorized: false,
  });
  asked.end();
  const [response] = await once(asked, 'response');
  response.resume();
  console.log(response.statusCode);
  process.exitCode = response.statusCode === 200 ? 0 : 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
