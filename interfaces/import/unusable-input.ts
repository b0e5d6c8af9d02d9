/** The file, or what was said of it, does not say enough to import it; the message says what would. */
export class UnusableInput extends Error {
  override readonly name = 'UnusableInput';
}
