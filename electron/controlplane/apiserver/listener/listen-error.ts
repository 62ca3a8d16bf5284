// Why a port can't be listened on, as a sentence that says what to do about it.

export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/** `flag` is the command-line option that chooses the port. */
export function listenError(
  error: NodeJS.ErrnoException,
  { host, port }: { readonly host: string; readonly port: number },
  flag: string,
): ListenError {
  return new ListenError(sentence(error, host, port, flag), { cause: error });
}

function sentence(error: NodeJS.ErrnoException, host: string, port: number, flag: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} on ${host} is in use by another program: stop that program, or choose another port with ${flag} (${flag} 0 takes a free one)`;
    case 'EACCES':
      return `this user may not listen on port ${port}: choose a port above 1023 with ${flag}, or start as root`;
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine: choose one that is`;
    default:
      return `can't listen on ${host} port ${port}: ${error.message}`;
  }
}
