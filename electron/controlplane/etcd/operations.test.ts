import { describe, expect, it } from 'vitest';
import { putOperation, rangeOperation, txnOperation } from './operations.ts';
import {
  compareMessage,
  deleteRangeRequest,
  putRequest,
  rangeRequest,
  txnRequest,
  type RequestOp,
} from './protocol.ts';

const some = new Uint8Array([1]);

function put(key: string): RequestOp {
  return { request_put: putRequest.make({ key }) };
}

function del(key: string, range_end = ''): RequestOp {
  return { request_delete_range: deleteRangeRequest.make({ key, range_end }) };
}

function nested(success: readonly RequestOp[], failure: readonly RequestOp[] = []): RequestOp {
  return { request_txn: txnRequest.make({ success, failure }) };
}

function txn(success: readonly RequestOp[], failure: readonly RequestOp[] = []): () => unknown {
  return () => txnOperation(txnRequest.make({ success, failure }));
}

const twice = 'duplicate key given in txn request';
const refused: readonly { name: string; ask: () => unknown; text: string }[] = [
  { name: 'a range of no key', ask: () => rangeOperation(rangeRequest.make()), text: 'key is not' },
  {
    name: 'a put of no key',
    ask: () => putOperation(putRequest.make()),
    text: 'key is not provided',
  },
  {
    name: 'a value to be ignored',
    ask: () => putOperation(putRequest.make({ key: 'a', value: some, ignore_value: true })),
    text: 'value is provided',
  },
  {
    name: 'a lease to be ignored',
    ask: () => putOperation(putRequest.make({ key: 'a', lease: 7, ignore_lease: true })),
    text: 'lease is provided',
  },
  {
    name: 'an order that is none',
    ask: () => rangeOperation(rangeRequest.make({ key: 'a', sort_target: 9 })),
    text: 'invalid sort option',
  },
  {
    name: 'a comparison of no key',
    ask: () => txnOperation(txnRequest.make({ compare: [compareMessage.make()] })),
    text: 'key is not provided',
  },
  { name: 'a key put twice', ask: txn([put('a'), put('a')]), text: twice },
  { name: 'a key put twice after a failure', ask: txn([], [put('a'), put('a')]), text: twice },
  { name: 'a key put and deleted', ask: txn([put('b'), del('a', 'c')]), text: twice },
  { name: 'a key deleted and put', ask: txn([del('a', '\0'), put('b')]), text: twice },
  { name: 'a key put here and below', ask: txn([put('a'), nested([], [put('a')])]), text: twice },
  {
    name: 'too much at once',
    ask: txn(Array.from({ length: 129 }, (_, i) => put(`${i}`))),
    text: 'too many operations',
  },
  {
    name: 'too much on the way down',
    ask: txn([nested(Array.from({ length: 128 }, (_, i) => put(`${i}`)))]),
    text: 'too many operations',
  },
];

describe('requests', () => {
  for (const { name, ask, text } of refused)
    it(`are refused for ${name}`, () => expect(ask).toThrow(text));

  it('may put one key on two ways of which only one is gone', () => {
    expect(txn([put('a')], [put('a')])).not.toThrow();
    expect(txn([nested([put('a')], [put('a')])])).not.toThrow();
    expect(txn([del('a'), del('a'), put('b')])).not.toThrow();
  });

  it('take any revision below 1 for now', () => {
    expect(rangeOperation(rangeRequest.make({ key: 'a', revision: -1, limit: -1 }))).toMatchObject({
      revision: 0,
      limit: 0,
    });
  });
});
