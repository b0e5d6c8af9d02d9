const grpc = { CANCELLED: 1, UNKNOWN: 2, DEADLINE_EXCEEDED: 4, ABORTED: 10, INTERNAL: 13, UNAVAILABLE: 14 };
const passingCodes: ReadonlySet<unknown> = new Set(Object.values(grpc));

/**
 * Whether the same call may do later: what the network, a restarting server or a changing leader answers. Told by
 * the gRPC code, as a first connect fails with gRPC's own error and only later calls with one of the client's.
 */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, type } = error as { code?: unknown; type?: unknown };
  return passingCodes.has(code) || type === 'not-leader' || error.message.startsWith('Failed to discover');
}
