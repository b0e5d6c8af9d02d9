import { InvalidArgumentError, Option } from 'commander';

/** A whole number in the range, however it is spelled in the option. */
export const whole = (least: number, most: number) => (text: string) => {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
};

export const fraction = (text: string): number => {
  const number = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (number >= 0 && number <= 1) return number;
  throw new InvalidArgumentError('It must be a fraction from 0 to 1.');
};

const httpUrl = (text: string): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.search === '') return url.origin;
  throw new InvalidArgumentError('It must be a URL such as http://127.0.0.1:8080.');
};

/** Every value of an option that may be given several times. */
export const each =
  <Value>(parse: (text: string) => Value) =>
  (text: string, before: readonly Value[] = []): readonly Value[] => [...before, parse(text)];

export type Label = readonly [key: string, value: string];

export const label = (text: string): Label => {
  const at = text.indexOf('=');
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)];
  throw new InvalidArgumentError('It must be key=value.');
};

export const urlOption = (what: string): Option => new Option('--url <url>', what).argParser(httpUrl);

export const jsonOption = (): Option => new Option('--json', 'answer as JSON, for scripts');
