// dns-packet as the tests use it: by `require`, since it comes without types and those that others wrote
// leave out half of what it gives.
import { createRequire } from 'node:module';

export interface Question {
  name: string;
  type: string;
  class?: string;
}

export interface Answer {
  name: string;
  type: string;
  ttl?: number;
  class?: string;
  data?: unknown;
  udpPayloadSize?: number;
  flags?: number;
  options?: unknown[];
}

export interface Packet {
  type?: string;
  id?: number;
  flags?: number;
  questions?: Question[];
  answers?: Answer[];
  authorities?: Answer[];
  additionals?: Answer[];
}

export interface Decoded extends Required<Packet> {
  rcode: string;
  flag_tc: boolean;
  flag_aa: boolean;
}

interface DnsPacket {
  encode(message: Packet): Buffer;
  decode(message: Buffer): Decoded;
  readonly RECURSION_DESIRED: number;
  readonly TRUNCATED_RESPONSE: number;
  readonly DNSSEC_OK: number;
}

export const packet = createRequire(import.meta.url)('dns-packet') as DnsPacket;
