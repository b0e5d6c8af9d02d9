type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void;

/** Structured log lines: fields first, then one fixed sentence. */
export type Log = {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
};
