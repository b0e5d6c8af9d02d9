export { pinoLog as openLog } from '../../infrastructure/logging/pino-log.ts';
