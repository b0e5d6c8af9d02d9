import { createHash } from 'node:crypto';

type Entry = { readonly at: number; readonly who: string; readonly text: string };

/** What happened in a world, line by line. The same seed gives the same lines. */
export class Timeline {
  readonly #entries: Entry[] = [];
  readonly #now: () => number;
  readonly #counts = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  add(who: string, text: string): void {
    this.#entries.push({ at: this.#now(), who, text });
  }

  /** A fault or an operation of a kind, for the summary. */
  count(kind: string): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** Rendered when asked for: most worlds break no rule, and nobody reads theirs. */
  get lines(): readonly string[] {
    return this.#entries.map(({ at, who, text }) => `${timeText(at)} ${who.padEnd(12)} ${plain(text)}`);
  }

  digest(): string {
    return createHash('sha256').update(this.lines.join('\n')).digest('hex').slice(0, 16);
  }
}

function timeText(milliseconds: number): string {
  const days = Math.floor(milliseconds / 86_400_000);
  const rest = new Date(milliseconds - days * 86_400_000).toISOString().slice(11, 23);
  return `${days}d ${rest}`;
}

/** Without what differs from process to process. */
const plain = (text: string): string =>
  text
    .replace(/\(process \d+ on [^,]+, /g, '(')
    .replaceAll('\n', ' ')
    .slice(0, 300);
