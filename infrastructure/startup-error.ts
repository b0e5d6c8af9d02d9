/** The process cannot start as it is set up; the message is one line that says what to do. */
export class StartupError extends Error {
  override readonly name: string = 'StartupError';
}

/** A store that is set up well cannot be used now: its disk is full, its file damaged, or others keep it locked. */
export class StoreUnusable extends StartupError {
  override readonly name = 'StoreUnusable';
}
