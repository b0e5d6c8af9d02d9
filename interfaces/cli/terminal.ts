import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { printable } from '../printable.ts';
import { UsageError } from './exit-codes.ts';

/** Where a command writes: its result to `out`, messages to `note` and `status`. */
export type Terminal = {
  /** Resolves once more can be written (backpressure of a slow reader). */
  out(text: string): Promise<void>;
  /** One line on standard error. */
  note(line: string): void;
  /** A line on standard error that the next one takes the place of; nothing unless `live`. */
  status(line: string): void;
  /** Standard error is a terminal that can go back in a line. */
  readonly live: boolean;
  /** Asks a question to be answered with yes or no; absent where nobody sits at a terminal. */
  readonly confirm?: (question: string) => Promise<boolean>;
};

/** Standard output or a file that was asked for cannot be written to, as on a full disk. */
export class OutputFailed extends Error {
  override readonly name = 'OutputFailed';
}

/** Those for which another name for the file would be right. */
const ofNames = ['ENOENT', 'EACCES', 'EPERM', 'EROFS', 'EISDIR', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'];

/** A `UsageError` where the name of the file is at fault, and `OutputFailed` where the disk is. */
export function unwritable(path: string, error: NodeJS.ErrnoException): Error {
  const { code = '', message } = error;
  const reason = code === 'ENOSPC' ? 'the disk is full' : message;
  const kind = ofNames.includes(code) ? UsageError : OutputFailed;
  return new kind(`${path} cannot be written: ${reason}`, { cause: error });
}

type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean };
type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** When the reader closes the pipe early, as `head` does, output is dropped and the command continues. */
export function terminalOn(
  stdout: Output,
  stderr: Output,
  { stdin, type }: { readonly stdin?: Input; readonly type?: string | undefined } = {},
): Terminal {
  const live = (stderr.isTTY ?? false) && type !== 'dumb';
  let isRead = true;
  let fault: Error | undefined;
  let statusShown = false;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    isRead = false;
    if (error.code !== 'EPIPE')
      fault = new OutputFailed(`standard output cannot be written to: ${error.message}`, { cause: error });
  });
  // Where standard error is closed, messages are lost and the command continues.
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
      if (!live) return;
      stderr.write(`\r\u001b[2K${line.slice(0, (stderr.columns ?? 80) - 1)}`);
      statusShown = line !== '';
    },
    live,
    ...(stdin?.isTTY && stderr.isTTY && { confirm: (question: string) => asked(question, stdin, stderr) }),
  };

  function clearStatus(): void {
    if (statusShown) stderr.write('\r\u001b[2K');
    statusShown = false;
  }
}

async function asked(question: string, stdin: Input, stderr: Output): Promise<boolean> {
  const lines = createInterface({ input: stdin, output: stderr });
  try {
    const closed = once(lines, 'close').then(() => '');
    return /^y(es)?$/i.test((await Promise.race([lines.question(`${question} [y/N] `), closed])).trim());
  } finally {
    lines.close();
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

/** `1234567` as `1,234,567`. */
export const count = (n: number): string => n.toLocaleString('en-US');

/** Consumer lag, `null` while it is not known. */
export const formatLag = (lag: number | null, isAtLeast: boolean): string =>
  lag === null ? 'unknown' : `${isAtLeast ? 'at least ' : ''}${count(lag)}`;

/** `1 line`, `2,000 lines`. */
export const counted = (n: number, noun: string): string => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

export const perSecond = (n: number, milliseconds: number): string =>
  `${count(Math.round((n * 1000) / Math.max(1, milliseconds)))}/s`;

export const seconds = (milliseconds: number): string =>
  milliseconds < 59_950
    ? `${(milliseconds / 1000).toFixed(1)} s`
    : `${Math.floor(Math.round(milliseconds / 1000) / 60)} min ${Math.round(milliseconds / 1000) % 60} s`;

const gap = '  ';

/** Columns as wide as their widest cell, under headings. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  rightAligned: readonly string[] = [],
): string {
  const cells = [headings, ...rows.map((row) => row.map(printable))];
  const widths = headings.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => {
        const width = widths[i] ?? 0;
        return rightAligned.includes(headings[i] ?? '') ? cell.padStart(width) : cell.padEnd(width);
      })
      .join(gap)
      .trimEnd();
  return `${cells.map(line).join('\n')}\n`;
}

/** A line for each field, its name before its value; what is an object as JSON. */
export function fieldLines(fields: Readonly<Record<string, unknown>>): string {
  const width = Math.max(...Object.keys(fields).map((name) => name.length));
  return Object.entries(fields)
    .map(([name, value]) => {
      const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
      return `${name.padEnd(width)}  ${printable(text)}\n`;
    })
    .join('');
}

/** Shows `line` repeatedly until the returned function is called: in place on a terminal, a line every 10 s elsewhere. */
export function showProgress(terminal: Terminal, line: () => string): () => void {
  const show = terminal.live ? terminal.status : terminal.note;
  const timer = setInterval(() => show(line()), terminal.live ? 200 : 10_000);
  return () => {
    clearInterval(timer);
    terminal.status('');
  };
}
