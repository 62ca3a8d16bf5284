// Bytes and messages of mDNS, by dns-packet: it comes without types, and may throw at bad bytes.
import packet from 'dns-packet';
import type { Message } from './messages.ts';

const sizeMax = 9000;

/** Undefined when it is no message, or one of an operation that is not ours to answer. */
export function decodeMessage(bytes: Buffer): Message | undefined {
  if (bytes.length > sizeMax) return undefined;
  try {
    const { type, id, opcode, questions, answers, authorities, additionals } = packet.decode(bytes);
    if (opcode !== 'QUERY') return undefined;
    return { type, id, questions, answers, authorities, additionals };
  } catch {
    return undefined;
  }
}

/** With the mark of who owns the records, in a response. */
export function encodeMessage(message: Message): Buffer {
  const flags = message.type === 'response' ? packet.AUTHORITATIVE_ANSWER : 0;
  return packet.encode({ ...message, flags });
}
