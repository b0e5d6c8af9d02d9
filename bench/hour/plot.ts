const [width, height, left, right, top, bottom] = [900, 380, 60, 20, 30, 60];

export type Plot = {
  readonly title: string;
  /** Minutes that the axis covers. */
  readonly minutes: number;
  /** Memory in MiB by the minute of the run. */
  readonly memory: readonly { readonly at: number; readonly mebibytes: number }[];
  /** What happened, each drawn over its time. */
  readonly spans: readonly { readonly what: string; readonly from: number; readonly to: number }[];
};

const colours: Readonly<Record<string, string>> = {
  rebuild: '#f2c14e',
  backup: '#7fb7be',
  'full disk': '#d1495b',
};

/** Memory over time as an SVG, with what happened meanwhile behind it. */
export function plotSvg({ title, minutes, memory, spans }: Plot): string {
  const ceiling = 100 * Math.ceil(Math.max(100, ...memory.map(({ mebibytes }) => mebibytes)) / 100);
  const x = (minute: number) => round(left + (minute / minutes) * (width - left - right));
  const y = (mebibytes: number) => round(height - bottom - (mebibytes / ceiling) * (height - top - bottom));
  const bars = spans.map(({ what, from, to }) => {
    const wide = Math.max(2, round(x(to) - x(from)));
    return `<rect x="${x(from)}" y="${top}" width="${wide}" height="${height - top - bottom}" fill="${colours[what] ?? '#999'}" opacity="0.6"><title>${what}</title></rect>`;
  });
  const rows = Array.from({ length: ceiling / 100 + 1 }, (_, n) => n * 100).map(
    (mebibytes) =>
      `<path d="M${left} ${y(mebibytes)}H${width - right}" stroke="#ddd"/><text x="${left - 8}" y="${y(mebibytes) + 4}" text-anchor="end">${mebibytes}</text>`,
  );
  const columns = Array.from({ length: Math.floor(minutes / 5) + 1 }, (_, n) => n * 5).map(
    (minute) => `<text x="${x(minute)}" y="${height - bottom + 18}" text-anchor="middle">${minute}</text>`,
  );
  const legend = Object.entries(colours).map(
    ([what, colour], n) =>
      `<rect x="${left + n * 110}" y="${height - 22}" width="12" height="12" fill="${colour}" opacity="0.6"/><text x="${left + n * 110 + 18}" y="${height - 12}">${what}</text>`,
  );
  const line = memory.map(({ at, mebibytes }) => `${x(at)},${y(mebibytes)}`).join(' ');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${left}" y="18">${title}</text>`,
    ...rows,
    ...columns,
    ...bars,
    `<polyline points="${line}" fill="none" stroke="#22577a" stroke-width="1.5"/>`,
    ...legend,
    `<text x="${width - right}" y="${height - 12}" text-anchor="end">minutes; MiB resident</text>`,
    '</svg>\n',
  ].join('\n');
}

const round = (n: number): number => Math.round(n * 10) / 10;
