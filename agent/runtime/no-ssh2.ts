// Stands in for the ssh2 package in the agent's bundle: docker-modem asks for it by name, but the
// agent only ever speaks to Docker on this machine's own socket.

/** Called with `new` by docker-modem, if ever. */
export function Client(): never {
  throw new Error('Docker over SSH is not supported');
}

export default { Client };
