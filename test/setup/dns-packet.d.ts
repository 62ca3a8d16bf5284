// What the tests use of dns-packet, which comes without types.
declare module 'dns-packet' {
  namespace packet {
    interface Question {
      name: string;
      type: string;
      class?: string;
    }
    interface Answer {
      name: string;
      type: string;
      ttl?: number;
      class?: string;
      data?: unknown;
      udpPayloadSize?: number;
      flags?: number;
      options?: unknown[];
    }
    interface Packet {
      type?: string;
      id?: number;
      flags?: number;
      questions?: Question[];
      answers?: Answer[];
      authorities?: Answer[];
      additionals?: Answer[];
    }
    interface Decoded extends Required<Packet> {
      rcode: string;
      flag_tc: boolean;
      flag_aa: boolean;
      flag_ra: boolean;
    }
  }
  const packet: {
    encode(message: packet.Packet): Buffer;
    decode(message: Buffer): packet.Decoded;
    RECURSION_DESIRED: number;
    RECURSION_AVAILABLE: number;
    TRUNCATED_RESPONSE: number;
    DNSSEC_OK: number;
  };
  export default packet;
}
