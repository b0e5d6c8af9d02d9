import type { Log } from '../../../application/ports/system.ts';

const say = () => undefined;

export const silentLog: Log = { debug: say, info: say, warn: say, error: say };
