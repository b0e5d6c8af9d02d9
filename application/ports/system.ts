/** Milliseconds since 1970-01-01T00:00:00Z. */
export type Clock = { now(): number };

/** Identifiers: fresh ones, and ones that the same input always gives. */
export type Ids = {
  /** UUIDv7: fresh, and in order of time. */
  uuidV7(): string;
  /** UUIDv5 of the parts. */
  uuidV5(...parts: readonly (string | number)[]): string;
  /** SHA-256 in hexadecimal. */
  digest(text: string): string;
};

type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void;

/** Structured log lines: fields first, then one fixed sentence. */
export type Log = {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
};
