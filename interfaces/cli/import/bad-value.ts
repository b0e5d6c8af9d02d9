/** A cell that cannot be what its column is for; the message quotes it and says what would be right. */
export class BadValue extends Error {
  override readonly name = 'BadValue';

  constructor(value: unknown, must: string) {
    const text = (typeof value === 'string' ? JSON.stringify(value) : String(value)) ?? 'nothing';
    super(`${text.length > 60 ? `${text.slice(0, 57)}…` : text} ${must}`);
  }
}
