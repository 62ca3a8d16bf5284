// Trades the one-time token of the printed address (`#token=…`) for this page's session cookie, and
// takes the token out of the address bar and the history. Keeps nothing.

/** The token of a URL's fragment; undefined when there is none. */
export function tokenOf(hash: string): string | undefined {
  const text = hash.replace(/^#/, '');
  if (text === '') return undefined;
  const token = new URLSearchParams(text).get('token');
  if (token !== null) return token;
  return /^[\w-]{16,}(\.[\w-]+)*$/.test(text) ? text : undefined;
}

export type SignIn = 'signed-in' | 'no-token' | 'refused' | 'unreachable';

export async function signIn(location: Location, history: History): Promise<SignIn> {
  const token = tokenOf(location.hash);
  if (token === undefined) return 'no-token';
  history.replaceState(history.state, '', location.pathname + location.search);
  try {
    const response = await fetch('/session', {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token }),
    });
    return response.ok ? 'signed-in' : 'refused';
  } catch {
    // The connection's own banner says so, and tries again.
    return 'unreachable';
  }
}
