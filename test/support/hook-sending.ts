import { sendToHooks } from '../../application/detection/sending.ts';
import { configFrom } from '../../infrastructure/config/config.ts';
import { openContainer } from '../../interfaces/composition/container.ts';
import { services as s } from '../../interfaces/composition/services.ts';
import { quiet } from './replay-fixture.ts';

// A process that sends what is due to hooks, by a clock that is faster than others since ORIGIN.
const origin = Number(process.env.ORIGIN);
const speed = Number(process.env.SPEED);
const container = await openContainer(configFrom(process.env), quiet, { migrate: false });
await sendToHooks(
  {
    deliveries: await container.getAsync(s.hookDeliveries),
    hooks: await container.getAsync(s.hooks),
    sender: await container.getAsync(s.hookSender),
    alarms: await container.getAsync(s.alarmQueries),
    ids: await container.getAsync(s.ids),
    clock: { now: () => origin + (Date.now() - origin) * speed },
    log: quiet,
    onTried: () => {},
    random: Math.random,
  },
  new AbortController().signal,
);
