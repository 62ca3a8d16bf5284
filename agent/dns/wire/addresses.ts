// Addresses as bytes, and as the one text by which two ways to write the same address are equal.
import { isIPv4, isIPv6 } from 'node:net';

/** 4 or 16 bytes; undefined for anything else. */
export function addressBytes(address: string): Buffer | undefined {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  return isIPv6(address) ? ipv6Bytes(address) : undefined;
}

/** An IPv4 address as it is; an IPv6 address as 32 hexadecimal digits. */
export function addressKey(address: string): string {
  return isIPv4(address) ? address : (addressBytes(address)?.toString('hex') ?? address);
}

/** Of an address that is one. */
function ipv6Bytes(address: string): Buffer {
  const [plain = ''] = address.split('%');
  const [head = '', tail] = plain.split('::');
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  const zeros = Array.from({ length: 16 - left.length - right.length }, () => 0);
  return Buffer.from([...left, ...zeros, ...right]);
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
