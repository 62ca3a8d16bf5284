// What we use of it.
declare module 'dns-packet' {
  interface Decoded {
    readonly type: 'query' | 'response';
    readonly id: number;
    readonly opcode: string;
    readonly questions: { name: string; type: string; class: string }[];
    readonly answers: Record[];
    readonly authorities: Record[];
    readonly additionals: Record[];
  }
  interface Record {
    name: string;
    type: string;
    class: string;
    ttl: number;
    flush: boolean;
    data: unknown;
  }
  const packet: {
    encode(message: unknown): Buffer;
    /** Throws when the bytes are no message. */
    decode(bytes: Buffer): Decoded;
    readonly AUTHORITATIVE_ANSWER: number;
  };
  export default packet;
}
