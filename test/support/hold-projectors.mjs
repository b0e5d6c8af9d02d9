// Imported before a process's own code, in each of its threads: that of the projectors, known by being given the
// configuration, does nothing at all for as long as the file that HOLD_PROJECTORS names exists.
import { existsSync } from 'node:fs';
import { isMainThread, workerData } from 'node:worker_threads';

const pause = new Int32Array(new SharedArrayBuffer(4));
const holdWhile = (file) => {
  while (existsSync(file)) Atomics.wait(pause, 0, 0, 50);
};

if (!isMainThread && workerData?.PROJECTOR_STALL_MS !== undefined)
  setInterval(() => holdWhile(process.env.HOLD_PROJECTORS), 50).unref();
