// Imported before a process's own code, in each of its threads: notes which packages of OpenTelemetry, and which
// clients of servers, are loaded.
import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

const form = /\/node_modules\/(@opentelemetry\/[^/]+|@eventstore\/db-client|kafkajs|mysql2)\//;

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const [, name] = form.exec(resolved.url) ?? [];
    if (name) appendFileSync(process.env.LOADED_MODULES, `${name}\n`);
    return resolved;
  },
});
