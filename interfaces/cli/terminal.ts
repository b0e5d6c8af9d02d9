/** Where a command writes: what was asked for to `out`, all else to `note` and `status`. */
export type Terminal = {
  /** Resolves once more may be written: a long answer goes no faster than its reader. */
  out(text: string): Promise<void>;
  /** One line on standard error. */
  note(line: string): void;
  /** A line on standard error that the next one takes the place of; nothing unless `live`. */
  status(line: string): void;
  /** Standard error is a terminal. */
  readonly live: boolean;
};

export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** A reader that leaves early, as `head` does, ends the answer but not the command. */
export function terminalOn(stdout: Output, stderr: Output): Terminal {
  let isRead = true;
  let fault: Error | undefined;
  let statusShown = false;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    isRead = false;
    if (error.code !== 'EPIPE') fault = error;
  });
  // With nobody to complain to, complaints are lost, and the command goes on.
  stderr.on('error', () => {});

  return {
    async out(text) {
      clearStatus();
      if (isRead && !stdout.write(text)) await drained(stdout);
      if (fault) throw fault;
    },
    note(line) {
      clearStatus();
      stderr.write(`${line}\n`);
    },
    status(line) {
      if (!stderr.isTTY) return;
      stderr.write(`\r\u001b[2K${line.slice(0, (stderr.columns ?? 80) - 1)}`);
      statusShown = line !== '';
    },
    live: stderr.isTTY ?? false,
  };

  function clearStatus(): void {
    if (statusShown) stderr.write('\r\u001b[2K');
    statusShown = false;
  }
}

function drained(stream: Output): Promise<void> {
  const events = ['drain', 'error', 'close'] as const;
  return new Promise((resolve) => {
    for (const event of events) stream.on(event, done);
    function done(): void {
      for (const event of events) stream.off(event, done);
      resolve();
    }
  });
}
