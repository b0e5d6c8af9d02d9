import { type DestinationStream, type LoggerOptions, pino } from 'pino';
import pretty from 'pino-pretty';
import type { Log } from '../../application/ports/system.ts';

/** JSON lines on standard error, easy to read when that is a terminal. Standard output is for what was asked for. */
export function pinoLog(level: string, role: string): Log {
  const options: LoggerOptions = { level, base: { role }, timestamp: pino.stdTimeFunctions.isoTime };
  const destination: DestinationStream = process.stderr.isTTY
    ? pretty({ destination: 2, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l' })
    : pino.destination(2);
  const logger = pino(options, destination);
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  };
}
