// Pure: the headers by which a server behind this one learns who asks. It believes them, because
// they come with the front proxy's certificate; so those of the client itself must never get there.
// Source: kubernetes client-go transport/round_trippers.go (SetAuthProxyHeaders).
import type { UserInfo } from '../http.ts';
import { passedHeaders } from '../handlers/proxy-target.ts';

export const remoteHeaders = {
  user: 'x-remote-user',
  uid: 'x-remote-uid',
  group: 'x-remote-group',
  extraPrefix: 'x-remote-extra-',
} as const;

/** In place of the client's own credentials and Host. */
export function headersAs(
  user: UserInfo,
  given: Readonly<Record<string, string>>,
): Record<string, string | string[]> {
  const passed = Object.entries(passedHeaders(given)).filter(
    ([name]) => name !== 'host' && !name.startsWith('x-remote-'),
  );
  const headers: Record<string, string | string[]> = Object.fromEntries(passed);
  headers[remoteHeaders.user] = encodeValue(user.name);
  if (user.uid !== undefined && user.uid !== '') headers[remoteHeaders.uid] = user.uid;
  if (user.groups.length > 0) headers[remoteHeaders.group] = user.groups.map(encodeValue);
  for (const [key, values] of Object.entries(user.extra ?? {}))
    headers[remoteHeaders.extraPrefix + escapeKey(key)] = values.map(encodeValue);
  return headers;
}

/** Names are UTF-8; Node writes a header's characters as bytes. */
function encodeValue(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** What may not stand in a header's name, and the percent sign itself, percent-encoded. */
function escapeKey(key: string): string {
  return [...Buffer.from(key, 'utf8')]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[!#$&'*+\-.^_`|~0-9A-Za-z]/.test(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}
