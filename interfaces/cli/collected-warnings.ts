import type { Log } from '../../application/ports/system.ts';
import type { CommandContext } from './command-context.ts';
import { count, counted } from './terminal.ts';

/** What was warned of, by message and error, and how often. */
type CollectedWarnings = ReadonlyMap<string, number>;

/**
 * A context in which warnings are collected instead of written between the lines of a command's progress. Who sets
 * `LOG_LEVEL` gets them as they come, too.
 */
export function collectingWarnings(context: CommandContext): {
  readonly context: CommandContext;
  readonly warnings: CollectedWarnings;
} {
  const { runtime, env } = context;
  const warnings = new Map<string, number>();
  const log: typeof runtime.log = async (...asked) => {
    const written = await runtime.log(...asked);
    const warn: Log['warn'] = (fields, message) => {
      const { err } = fields;
      const cause = err instanceof Error ? `${message}: ${firstLine(err.message)}` : message;
      warnings.set(cause, (warnings.get(cause) ?? 0) + 1);
      if (env.LOG_LEVEL) written.warn(fields, message);
    };
    const { debug, info, error } = written;
    return { debug: debug.bind(written), info: info.bind(written), error: error.bind(written), warn };
  };
  return { context: { ...context, runtime: { ...runtime, log } }, warnings };
}

const causesShown = 10;

/** `3 warnings:` and a line for each cause, those that came most often first; nothing without any. */
export function warningsText(warnings: CollectedWarnings): string | undefined {
  if (warnings.size === 0) return undefined;
  const causes = [...warnings].toSorted(([, a], [, b]) => b - a);
  const lines = causes.slice(0, causesShown).map(([cause, times]) => `\n  ${count(times)} × ${cause}`);
  const more = causes.slice(causesShown);
  if (more.length > 0) lines.push(`\n  ${count(timesOf(more))} × ${counted(more.length, 'other cause')}`);
  return `${counted(timesOf(causes), 'warning')}:${lines.join('')}`;
}

const timesOf = (causes: readonly (readonly [string, number])[]): number =>
  causes.reduce((sum, [, times]) => sum + times, 0);

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';
