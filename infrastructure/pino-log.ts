import { type DestinationStream, type LoggerOptions, pino } from 'pino';
import type { Log } from '../application/ports/system.ts';
import type { EventDescription } from '../application/projections/projection.ts';
import type { ProjectorObserver } from '../application/projector.ts';

// Most processes and threads write to no terminal, and need not load it.
const pretty = process.stderr.isTTY ? (await import('pino-pretty')).default : undefined;

/** JSON lines on standard error, easy to read when that is a terminal. Standard output is for results. */
export function pinoLog(level: string, role: string): Log {
  const options: LoggerOptions = { level, base: { role }, timestamp: pino.stdTimeFunctions.isoTime };
  const destination: DestinationStream = pretty
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

/**
 * Reports what is consumed to an observer, and to the log at level `debug`: a line for each request whose events are in a
 * batch, with its correlation id. Nothing of an event but whose it is, for payloads do not belong into a log.
 */
export function withConsumedLog<Event>(
  observer: ProjectorObserver<Event>,
  projection: string,
  describe: (event: Event) => EventDescription,
  log: Pick<Log, 'debug'>,
): ProjectorObserver<Event> {
  return {
    failed: (error) => observer.failed(error),
    consumed(events, parked, seconds) {
      observer.consumed(events, parked, seconds);
      const requests = Map.groupBy(events.map(describe), ({ correlationId }) => correlationId);
      for (const [correlationId, [first, ...others]] of requests) {
        const eventId = first?.id;
        const streams = new Set([first, ...others].map((one) => one?.stream));
        // A device's own story can be followed where a request was of one device.
        const stream = streams.size === 1 ? first?.stream : undefined;
        log.debug(
          { projection, correlationId, eventId, stream, events: others.length + 1, streams: streams.size },
          'Events consumed',
        );
      }
    },
  };
}
