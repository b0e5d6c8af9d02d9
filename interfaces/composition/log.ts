export { pinoLog as openLog } from '../../infrastructure/pino-log.ts';
