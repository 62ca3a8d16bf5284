// How a failed connection reads in probe events.
// Source: Go's net package, whose words Kubernetes passes on and people search for.

export function connectionFailure(error: Error): string {
  const { code } = error as { code?: string };
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'connect: connection refused',
    ECONNRESET: 'read: connection reset by peer',
    EHOSTUNREACH: 'connect: no route to host',
    ENETUNREACH: 'connect: network is unreachable',
    ETIMEDOUT: 'connect: connection timed out',
  };
  if (error.message === 'socket hang up') return 'EOF';
  return known[code ?? ''] ?? error.message;
}
