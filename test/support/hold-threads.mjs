// Imported before a process's own code, in each of its threads: those but the first do nothing at all for as long as
// the file that HOLD_THREADS names exists.
import { existsSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const pause = new Int32Array(new SharedArrayBuffer(4));
const holdWhile = (file) => {
  while (existsSync(file)) Atomics.wait(pause, 0, 0, 50);
};

if (!isMainThread) setInterval(() => holdWhile(process.env.HOLD_THREADS), 50).unref();
