export const exitCodes = { ok: 0, refused: 1, usage: 2, unavailable: 3, unexpected: 4 } as const;

export const exitCodesHelp = `
Exit codes:
  0  done; a server: stopped by a signal
  1  refused, in whole or in part, or a check found a difference
  2  wrong use or configuration
  3  the server, or a server or file it depends on, is unavailable: a full disk and a damaged file too
  4  internal error
  128 + n  stopped by signal n before it was done: 129 for SIGHUP, 130 for Ctrl-C, 143 for SIGTERM`;

/** The command line asks for something that makes no sense; the message says what would. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** No server answers, or it cannot serve now. */
export class ServerUnavailable extends Error {
  override readonly name = 'ServerUnavailable';
}

/** The server says no, for a reason that asking again does not change. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** A signal asked the command to stop before it was done. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super(`stopped by ${signal}`);
    this.exitCode = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal];
  }
}
