// Numbers and times as the explanations of alarms have them.

/** A device's clock may say what no date can. */
export const timeText = (ms: number): string =>
  new Date(Math.min(Math.max(ms, -8.64e15), 8.64e15)).toISOString();

/** Two digits behind the point, or three that count. */
export const shortNumber = (value: number): string =>
  String(Math.abs(value) >= 10 ? Math.round(value * 100) / 100 : Number(value.toPrecision(3)));

/** `41,203`. */
export const groupedCount = (count: number): string => String(count).replaceAll(/\B(?=(\d{3})+$)/g, ',');

/** `1 h 30 min`: the two greatest units. */
export function durationText(ms: number): string {
  const parts: string[] = [];
  let rest = ms;
  for (const [unit, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
    if (parts.length === 2) break;
  }
  return parts.length === 0 ? '0 s' : parts.join(' ');
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;
