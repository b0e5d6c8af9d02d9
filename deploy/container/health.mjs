// Whether the role that answers on a port is ready, told by the exit code: the image has no curl.
// Usage: node health.mjs PORT
const [port] = process.argv.slice(2);
try {
  const { status } = await fetch(`http://127.0.0.1:${port}/health/ready`, {
    signal: AbortSignal.timeout(4000),
  });
  console.log(status);
  process.exitCode = status === 200 ? 0 : 1;
} catch (error) {
  console.error(error.cause?.message ?? error.message);
  process.exitCode = 1;
}
