// mDNS messages as values. Read and written by dns-packet (codec.ts).
export interface Question {
  readonly name: string;
  readonly type: string;
  readonly class: string;
}

export interface ResourceRecord {
  readonly name: string;
  readonly type: string;
  readonly class: string;
  /** Seconds; 0: it is gone. */
  readonly ttl: number;
  /** Takes the place of what is known of this name and type. */
  readonly flush: boolean;
  readonly data: unknown;
}

export interface Message {
  readonly type: 'query' | 'response';
  readonly id: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

export interface Sender {
  readonly address: string;
  readonly port: number;
}

export const mdnsPort = 5353;
const ttlSeconds = 120;

export function query(name: string, claimed: ResourceRecord): Message {
  const questions = [{ name, type: 'ANY', class: 'IN' }];
  return { type: 'query', id: 0, questions, answers: [], authorities: [claimed], additionals: [] };
}

export function response(
  answers: readonly ResourceRecord[],
  additionals: readonly ResourceRecord[] = [],
): Message {
  return { type: 'response', id: 0, questions: [], answers, authorities: [], additionals };
}

export function addressRecord(name: string, address: string): ResourceRecord {
  return { name, type: 'A', class: 'IN', ttl: ttlSeconds, flush: true, data: address };
}

/** Says that the name has an A record and nothing else: who asks for AAAA need not wait. */
export function nothingElseRecord(name: string): ResourceRecord {
  const data = { nextDomain: name, rrtypes: ['A'] };
  return { name, type: 'NSEC', class: 'IN', ttl: ttlSeconds, flush: true, data };
}

export function isSameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

/** dns-packet's word for IN with the bit that asks for an answer to the asker alone. */
export function isUnicastQuestion(question: Question): boolean {
  return question.class === 'UNKNOWN_32769';
}
