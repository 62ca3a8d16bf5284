// IP addresses as bytes and back to one canonical text, so that two spellings compare equal.
// Source: RFC 4291 §2.2, RFC 5952.
import { isIP, isIPv4 } from 'node:net';

/** 4 or 16 bytes in network order. The text must be an address (`net.isIP`), without zone. */
export function ipAddressBytes(text: string): Uint8Array {
  if (isIP(text) === 0) throw new RangeError(`not an IP address: ${text}`);
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  const [head = '', tail] = expandIpv4Tail(text).split('::');
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  const all = tail === undefined ? before : [...before, ...zeros, ...after];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** Two spellings of one address give the same text; other text comes back as it is. */
export function canonicalIpAddress(text: string): string {
  return isIP(text) === 0 ? text : Buffer.from(ipAddressBytes(text)).toString('hex');
}

function groups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

/** `::ffff:10.0.0.1` → `::ffff:a00:1`. */
function expandIpv4Tail(text: string): string {
  const tail = /[^:]+$/.exec(text)?.[0] ?? '';
  if (!isIPv4(tail)) return text;
  const [a = 0, b = 0, c = 0, d = 0] = tail.split('.').map(Number);
  const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  return text.slice(0, -tail.length) + hex;
}
