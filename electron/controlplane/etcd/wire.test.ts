import * as fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { keyValue, rangeResponse, txnRequest, watchCreateRequest } from './protocol.ts';
import { MessageType, WireError, one } from './wire.ts';

/** The same messages as another library reads them. */
const reference = protobuf.parse(
  `
  syntax = "proto3";
  message Header { uint64 cluster_id = 1; uint64 member_id = 2; int64 revision = 3; uint64 raft_term = 4; }
  message KeyValue {
    bytes key = 1; int64 create_revision = 2; int64 mod_revision = 3;
    int64 version = 4; bytes value = 5; int64 lease = 6;
  }
  message RangeResponse { Header header = 1; repeated KeyValue kvs = 2; bool more = 3; int64 count = 4; }
  message WatchCreate { bytes key = 1; repeated int32 filters = 5; }
`,
  { keepCase: true },
).root;

const integer = fc.maxSafeInteger();
const row = fc.record({
  key: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  create_revision: integer,
  mod_revision: integer,
  version: integer,
  value: fc.uint8Array({ maxLength: 3000 }),
  lease: integer,
});

function plain(message: object): unknown {
  return JSON.parse(
    JSON.stringify(message, (_key, value: unknown) =>
      value instanceof Uint8Array ? Array.from(value) : value,
    ),
  );
}

describe('wire format', () => {
  it('is what another library writes and reads', () => {
    const type = reference.lookupType('RangeResponse');
    fc.assert(
      fc.property(fc.array(row, { maxLength: 5 }), fc.boolean(), integer, (kvs, more, count) => {
        const header = { cluster_id: 7, member_id: 2 ** 47, revision: 300, raft_term: 0 };
        const message = { header, kvs, more, count };
        const bytes = rangeResponse.encode(message);
        const rows = kvs.map((each) => ({ ...each, key: Buffer.from(each.key, 'latin1') }));
        const theirs = type.encode(type.fromObject({ ...message, kvs: rows })).finish();
        // Theirs writes zeros that were given; ours reads both, and theirs reads ours.
        expect(plain(rangeResponse.decode(theirs))).toEqual(plain(message));
        expect(plain(rangeResponse.decode(bytes))).toEqual(plain(message));
        const again = type.toObject(type.decode(bytes), { longs: Number, defaults: true });
        const values = again['kvs'] as { value: Uint8Array }[];
        expect(values.map(({ value }) => Array.from(value))).toEqual(
          kvs.map(({ value }) => Array.from(value)),
        );
        expect(again['count']).toBe(count);
      }),
    );
  });

  it('reads repeated numbers packed and apart', () => {
    const packed = reference.lookupType('WatchCreate');
    const bytes = packed.encode({ key: Buffer.from('a'), filters: [1, 0] }).finish();
    expect(watchCreateRequest.decode(bytes).filters).toEqual([1, 0]);
    const apart = watchCreateRequest.encode(watchCreateRequest.make({ filters: [1, 0] }));
    expect(watchCreateRequest.decode(apart).filters).toEqual([1, 0]);
  });

  it('holds messages in messages of the same type', () => {
    const inner = txnRequest.make({ compare: [] });
    const outer = txnRequest.make({ success: [{ request_txn: inner }] });
    expect(plain(txnRequest.decode(txnRequest.encode(outer)))).toEqual(plain(outer));
  });

  it('passes over fields it does not know', () => {
    const newer = new MessageType<{ a: number; b: string }>({
      a: one(1, 'int'),
      b: one(9, 'string'),
    });
    const older = new MessageType<{ a: number }>({ a: one(1, 'int') });
    expect(older.decode(newer.encode({ a: 5, b: 'new' }))).toEqual({ a: 5 });
  });

  it('refuses integers that JavaScript can not tell apart, but takes such ids', () => {
    const long = new MessageType<{ n: number }>({ n: one(1, 'id') });
    const bytes = long.encode({ n: 2 ** 60 });
    expect(long.decode(bytes)).toEqual({ n: 2 ** 60 });
    const exact = new MessageType<{ n: number }>({ n: one(1, 'int') });
    expect(() => exact.decode(bytes)).toThrow(WireError);
  });

  it('refuses every message that is cut off, and never reads past its end', () => {
    const whole = keyValue.encode(
      keyValue.make({ key: 'some key', value: new Uint8Array(40), mod_revision: 2 ** 40 }),
    );
    for (let length = 1; length < whole.length; length++) {
      const cut = whole.subarray(0, length);
      let decoded: unknown;
      try {
        decoded = keyValue.decode(cut);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
      // A cut between two fields is a message, too.
      if (decoded !== undefined)
        expect(plain(decoded as object)).not.toEqual(plain(keyValue.decode(whole)));
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        try {
          rangeResponse.decode(noise);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
    );
  });
});
