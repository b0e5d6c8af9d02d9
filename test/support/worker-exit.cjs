// Mocha ends a process that ran test files with SIGTERM when it takes more than a second to exit, which writing its
// coverage may. With a listener of its own the signal waits for the event loop, which does not turn any more by then.
if (process.env.MOCHA_WORKER_ID !== undefined) process.once('SIGTERM', () => process.exit(143));
