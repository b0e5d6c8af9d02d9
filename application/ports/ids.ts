/** Identifiers: fresh ones, and ones that the same input always gives. */
export type Ids = {
  /** UUIDv7: fresh, and in order of time. */
  fresh(): string;
  /** UUIDv5 of the parts. */
  derived(...parts: readonly (string | number)[]): string;
  /** SHA-256 in hexadecimal. */
  digest(text: string): string;
};
