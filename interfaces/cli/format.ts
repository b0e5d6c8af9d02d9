/** `1234567` as `1,234,567`. */
export const count = (n: number): string => n.toLocaleString('en-US');

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

/** Text from elsewhere must not steer the terminal it is shown on, nor turn around what stands beside it. */
export const printable = (text: string): string =>
  text.replace(
    /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
