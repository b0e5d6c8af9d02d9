import { UnusableInput } from './unusable-input.ts';

/** What a number of a time column counts since 1970. */
export type EpochUnit = 's' | 'ms' | 'us' | 'ns';

const units: readonly EpochUnit[] = ['s', 'ms', 'us', 'ns'];
export const epochFormats: ReadonlyMap<string, EpochUnit> = new Map(
  units.map((unit) => [`epoch-${unit}`, unit]),
);
const unitNames: Readonly<Record<EpochUnit, string>> = {
  s: 'seconds',
  ms: 'milliseconds',
  us: 'microseconds',
  ns: 'nanoseconds',
};

const numberForm = /^([+-]?)(\d+)(?:\.(\d+))?$/;

/** A number, or text that is one. */
export const isEpoch = (value: unknown): boolean =>
  typeof value === 'number' ||
  typeof value === 'bigint' ||
  (typeof value === 'string' && numberForm.test(value.trim()));

/**
 * Whole milliseconds since 1970, what is finer cut off; `undefined` for what is no number, and `NaN` for a fraction
 * of a millisecond where milliseconds are counted, which the API refuses too.
 */
export function epochMilliseconds(value: unknown, unit: EpochUnit): number | undefined {
  const [, sign, whole = '', fraction = ''] = numberForm.exec(String(value).trim()) ?? [];
  if (sign === undefined || typeof value === 'object' || typeof value === 'boolean') return undefined;
  if (unit === 'ms' && Number(fraction) > 0) return Number.NaN;
  const finer = { s: 0, ms: 3, us: 6, ns: 9 }[unit];
  const digits = finer === 0 ? `${whole}${fraction.padEnd(3, '0').slice(0, 3)}` : whole;
  const cut = Math.max(0, finer - 3);
  const milliseconds = Number(cut === 0 ? digits : digits.slice(0, -cut) || '0');
  return sign === '-' ? -milliseconds + 0 : milliseconds;
}

/**
 * Finds out by the magnitude of all numbers of a time column what they count: years from 1973 on, in each unit, have
 * magnitudes of their own. Numbers that are all dates when read as yyyyMMddHH and longer stay unknown.
 */
export class EpochNumbers {
  readonly #found = new Map<EpochUnit, { count: number; dates: number; readonly first: number }>();

  add(value: unknown, line: number): void {
    if (!isEpoch(value)) return;
    const text = String(value).trim().replace(/^[+-]/, '');
    const unit = unitOf(value);
    if (unit === undefined) return;
    const found = this.#found.get(unit) ?? { count: 0, dates: 0, first: line };
    this.#found.set(unit, found);
    found.count += 1;
    if (isCompactDate(text)) found.dates += 1;
  }

  /** `undefined` when there are none, or when they may be many things. Throws `UnusableInput` for several units. */
  unit(column: string): EpochUnit | undefined {
    const [first, second] = [...this.#found];
    if (first === undefined) return undefined;
    if (second !== undefined)
      throw new UnusableInput(
        `the column "${column}" counts ${unitNames[first[0]]} in line ${first[1].first} and ${unitNames[second[0]]} in line ${second[1].first}: name what they are with --time-format`,
      );
    const [unit, { count, dates }] = first;
    return dates === count ? undefined : unit;
  }
}

export const epochNote = (column: string, unit: EpochUnit): string =>
  `the times in "${column}" are ${unitNames[unit]} since 1970, by their magnitude; --time-format names another`;

/** What a number must count to be of the years 1973 to 5138; `undefined` for numbers that would be of 1970 or none. */
export function unitOf(value: unknown): EpochUnit | undefined {
  const size = Math.abs(Number(value));
  return size < 1e8 ? undefined : units[[1e11, 1e14, 1e17, 1e20].findIndex((greater) => size < greater)];
}

/** As yyyyMMddHH, yyyyMMddHHmm, yyyyMMddHHmmss or yyyyMMddHHmmssSSS, in the years 1900 to 2100. */
function isCompactDate(digits: string): boolean {
  if (![10, 12, 14, 17].includes(digits.length) || !/^\d+$/.test(digits)) return false;
  const part = (from: number, to: number) => Number(digits.slice(from, to) || '0');
  const [year, month, day] = [part(0, 4), part(4, 6), part(6, 8)];
  const [hour, minute, second] = [part(8, 10), part(10, 12), part(12, 14)];
  const isDate = year >= 1900 && year <= 2100 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
  return isDate && hour <= 23 && minute <= 59 && second <= 59;
}
