import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  commandVersion,
  decodeCommand,
  encodeCommand,
  isNewerCommand,
  txnDepthMax,
} from './command-codec.ts';
import type { Command, Operation, Txn } from './commands.ts';

const key = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((n) => String.fromCharCode(n)),
});
const value = fc.uint8Array({ maxLength: 300 });
const number = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 127, 128, 2 ** 32));
const bound = number.filter((n) => n < Number.MAX_SAFE_INTEGER);
const range = fc.record({ key, end: key }, { requiredKeys: ['key'] });

const compare = fc.oneof(
  fc.record({
    range,
    target: fc.constantFrom('version', 'create', 'mod', 'lease'),
    relation: fc.constantFrom('equal', 'not-equal', 'greater', 'less'),
    operand: number,
  }),
  fc.record({
    range,
    target: fc.constant('value'),
    relation: fc.constantFrom('equal', 'not-equal', 'greater', 'less'),
    operand: value,
  }),
);

const operations = fc.letrec<{ operation: Operation; txn: Txn }>((tie) => ({
  txn: fc.record({
    compares: fc.array(compare, { maxLength: 3 }),
    success: fc.array(tie('operation'), { maxLength: 4 }),
    failure: fc.array(tie('operation'), { maxLength: 4 }),
  }) as fc.Arbitrary<Txn>,
  operation: fc.oneof(
    { depthSize: 'small', maxDepth: txnDepthMax - 2, withCrossShrink: true },
    fc.record({
      type: fc.constant('put' as const),
      key,
      value,
      lease: number,
      wantsPrevious: fc.boolean(),
      keepsValue: fc.boolean(),
      keepsLease: fc.boolean(),
    }),
    fc.record({ type: fc.constant('delete' as const), range, wantsPrevious: fc.boolean() }),
    fc.record(
      {
        type: fc.constant('range' as const),
        range,
        revision: number,
        limit: number,
        keysOnly: fc.boolean(),
        countOnly: fc.boolean(),
        sort: fc.record({
          by: fc.constantFrom('key', 'version', 'create', 'mod', 'value'),
          isDescending: fc.boolean(),
        }),
        modRevisionMin: bound,
        modRevisionMax: bound,
        createRevisionMin: bound,
        createRevisionMax: bound,
      },
      { requiredKeys: ['type', 'range', 'revision', 'limit', 'keysOnly', 'countOnly'] },
    ),
    tie('txn').map((txn) => ({ type: 'txn' as const, ...txn })),
  ) as fc.Arbitrary<Operation>,
}));

const commands: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ type: fc.constant('put-if'), key, value, expectedRevision: number }),
  fc.record({ type: fc.constant('delete-if'), key, expectedRevision: number }),
  operations.txn.map((txn) => ({ type: 'txn', ...txn })),
  fc.record({ type: fc.constant('compact'), revision: number, hash: fc.nat() }),
  fc.record({ type: fc.constant('compact'), revision: number }),
  fc.record({ type: fc.constant('lease-grant'), id: number, ttlSeconds: number }),
  fc.record({ type: fc.constantFrom('lease-revoke', 'lease-keep'), id: number }),
  fc.record({ type: fc.constant('hash-claim'), member: number, revision: number, hash: fc.nat() }),
  fc.record({
    type: fc.constant('lease-revoke'),
    id: number,
    due: fc.record({ term: number, keptAt: number }),
  }),
) as fc.Arbitrary<Command>;

describe('the command codec', () => {
  it('gives back what it was given', () => {
    fc.assert(
      fc.property(commands, (command) => {
        expect(decodeCommand(encodeCommand(command))).toEqual(command);
      }),
      { numRuns: 500 },
    );
  });

  it('takes every beginning of a command for no command', () => {
    fc.assert(
      fc.property(
        commands,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (command, at) => {
          const data = encodeCommand(command);
          expect(decodeCommand(data.subarray(0, Math.floor(at * data.length)))).toBeUndefined();
        },
      ),
    );
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decodeCommand(bytes);
        decodeCommand(Uint8Array.of(commandVersion, ...bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it('survives a changed byte', () => {
    fc.assert(
      fc.property(commands, fc.nat(), fc.nat({ max: 255 }), (command, at, byte) => {
        const data = Uint8Array.from(encodeCommand(command));
        data[at % data.length] = byte;
        decodeCommand(data);
      }),
      { numRuns: 500 },
    );
  });

  it('does not understand a newer version, an unknown type, or more than there should be', () => {
    const data = Uint8Array.from(encodeCommand({ type: 'lease-keep', id: 7 }));
    expect(decodeCommand(data)).toEqual({ type: 'lease-keep', id: 7 });
    expect(decodeCommand(data.with(0, commandVersion + 1))).toBeUndefined();
    expect(decodeCommand(data.with(1, 200))).toBeUndefined();
    expect(decodeCommand(Uint8Array.of(...data, 0))).toBeUndefined();
    const newer = [data.with(0, commandVersion + 1), data.with(1, 200)];
    expect(newer.map((one) => isNewerCommand(one))).toEqual([true, true]);
    expect(
      [data, Uint8Array.of(...data, 0), new Uint8Array()].map((one) => isNewerCommand(one)),
    ).toEqual([false, false, false]);
  });

  it('refuses transactions nested too deep on both sides', () => {
    let txn: Txn = { compares: [], success: [], failure: [] };
    for (let depth = 1; depth < txnDepthMax; depth++)
      txn = { compares: [], success: [{ type: 'txn', ...txn }], failure: [] };
    expect(decodeCommand(encodeCommand({ type: 'txn', ...txn }))).toEqual({ type: 'txn', ...txn });
    const deeper: Txn = { compares: [], success: [{ type: 'txn', ...txn }], failure: [] };
    expect(() => encodeCommand({ type: 'txn', ...deeper })).toThrow('nested at most');
  });
});
