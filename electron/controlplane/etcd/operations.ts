// etcd's requests as the store's operations, and the store's results as etcd's answers. Checks what
// etcd checks before a request reaches its log. Pure.
// Source: etcd server/etcdserver/api/v3rpc/key.go.
import { assert, unreachable } from '#kube/base/assert.ts';
import { isInRange } from '../store/byte-keys.ts';
import type {
  ByteKey,
  Compare,
  DeleteOperation,
  KeyRange,
  Operation,
  OperationResult,
  PutOperation,
  RangeOperation,
  RangeResult,
  Row,
  Txn,
} from '../store/commands.ts';
import { GrpcError, grpcCodes } from './grpc.ts';
import type * as wire from './protocol.ts';
import { refusal } from './status.ts';

/** Of one transaction, nested ones included on their way down. */
const operationsMax = 128;

const sortTargets = ['key', 'version', 'create', 'mod', 'value'] as const;
const compareRelations = ['equal', 'greater', 'less', 'not-equal'] as const;
const compareTargets = ['version', 'create', 'mod', 'value', 'lease'] as const;
const descending = 2;

export function keyRange(key: ByteKey, end: ByteKey): KeyRange {
  return end === '' ? { key } : { key, end };
}

export function rangeOperation(request: wire.RangeRequest): RangeOperation {
  if (request.key === '') throw refusal('emptyKey');
  const by = sortTargets[request.sort_target];
  if (by === undefined || request.sort_order < 0 || request.sort_order > descending)
    throw refusal('invalidSortOption');
  const isDescending = request.sort_order === descending;
  return {
    type: 'range',
    range: keyRange(request.key, request.range_end),
    revision: Math.max(0, request.revision),
    limit: Math.max(0, request.limit),
    keysOnly: request.keys_only,
    countOnly: request.count_only,
    // By key is the order rows have anyway.
    ...(by === 'key' && !isDescending ? {} : { sort: { by, isDescending } }),
    ...bound('modRevisionMin', request.min_mod_revision),
    ...bound('modRevisionMax', request.max_mod_revision),
    ...bound('createRevisionMin', request.min_create_revision),
    ...bound('createRevisionMax', request.max_create_revision),
  };
}

function bound(name: string, revision: number): Readonly<Record<string, number>> {
  return revision === 0 ? {} : { [name]: revision };
}

export function putOperation(request: wire.PutRequest): PutOperation {
  if (request.key === '') throw refusal('emptyKey');
  if (request.ignore_value && request.value.byteLength > 0) throw refusal('valueProvided');
  if (request.ignore_lease && request.lease !== 0) throw refusal('leaseProvided');
  return {
    type: 'put',
    key: request.key,
    value: request.value,
    lease: request.lease,
    wantsPrevious: request.prev_kv,
    keepsValue: request.ignore_value,
    keepsLease: request.ignore_lease,
  };
}

export function deleteOperation(request: wire.DeleteRangeRequest): DeleteOperation {
  if (request.key === '') throw refusal('emptyKey');
  const range = keyRange(request.key, request.range_end);
  return { type: 'delete', range, wantsPrevious: request.prev_kv };
}

/** Throws the refusals of a transaction that can't be: too long, or one key written twice. */
export function txnOperation(request: wire.TxnRequest, remaining = operationsMax): Txn {
  const { compare, success, failure } = request;
  const length = Math.max(compare.length, success.length, failure.length);
  if (length > remaining) throw refusal('tooManyOperations');
  const branch = (operations: readonly wire.RequestOp[]): Operation[] =>
    operations.map((operation) => operationOf(operation, remaining - length));
  const txn: Txn = {
    compares: compare.map(compareOf),
    success: branch(success),
    failure: branch(failure),
  };
  if (remaining === operationsMax) checkWrites(txn);
  return txn;
}

function operationOf(request: wire.RequestOp, remaining: number): Operation {
  const { request_range, request_put, request_delete_range, request_txn } = request;
  if (request_range !== undefined) return rangeOperation(request_range);
  if (request_put !== undefined) return putOperation(request_put);
  if (request_delete_range !== undefined) return deleteOperation(request_delete_range);
  if (request_txn !== undefined) return { type: 'txn', ...txnOperation(request_txn, remaining) };
  throw new GrpcError(grpcCodes.invalidArgument, 'etcdserver: an operation says nothing');
}

function compareOf(request: wire.Compare): Compare {
  if (request.key === '') throw refusal('emptyKey');
  const target = compareTargets[request.target];
  const relation = compareRelations[request.result];
  if (target === undefined || relation === undefined)
    throw new GrpcError(grpcCodes.invalidArgument, 'etcdserver: a comparison of an unknown kind');
  const range = keyRange(request.key, request.range_end);
  return { range, target, relation, operand: operandOf(request, target) };
}

function operandOf(request: wire.Compare, target: Compare['target']): number | Uint8Array {
  switch (target) {
    case 'version':
      return request.version;
    case 'create':
      return request.create_revision;
    case 'mod':
      return request.mod_revision;
    case 'value':
      return request.value;
    case 'lease':
      return request.lease;
    default:
      return unreachable(target);
  }
}

interface Writes {
  readonly puts: ReadonlySet<ByteKey>;
  readonly deletes: readonly KeyRange[];
}

/** No key is put twice, or put and deleted, on any way through the transaction. */
function checkWrites(txn: Txn): Writes {
  const success = writesOf(txn.success);
  const failure = writesOf(txn.failure);
  return {
    puts: new Set([...success.puts, ...failure.puts]),
    deletes: [...success.deletes, ...failure.deletes],
  };
}

function writesOf(operations: readonly Operation[]): Writes {
  const puts = new Set<ByteKey>();
  const deletes: KeyRange[] = [];
  for (const operation of operations) {
    const added = addedBy(operation);
    for (const key of added.puts) {
      if (puts.has(key) || deletes.some((range) => isInRange(range, key)))
        throw refusal('duplicateKey');
    }
    for (const range of added.deletes)
      for (const key of puts) if (isInRange(range, key)) throw refusal('duplicateKey');
    for (const key of added.puts) puts.add(key);
    deletes.push(...added.deletes);
  }
  return { puts, deletes };
}

function addedBy(operation: Operation): Writes {
  if (operation.type === 'put') return { puts: new Set([operation.key]), deletes: [] };
  if (operation.type === 'delete') return { puts: new Set(), deletes: [operation.range] };
  if (operation.type === 'txn') return checkWrites(operation);
  return { puts: new Set(), deletes: [] };
}

export function keyValueOf(row: Row): wire.KeyValue {
  return {
    key: row.key,
    create_revision: row.createRevision,
    mod_revision: row.modRevision,
    version: row.version,
    value: row.value,
    lease: row.lease,
  };
}

export function rangeAnswer(
  result: RangeResult,
  header: wire.ResponseHeader | undefined,
): wire.RangeResponse {
  const { rows, hasMore, count } = result;
  return { header, kvs: rows.map(keyValueOf), more: hasMore, count };
}

export function putAnswer(
  result: OperationResult | undefined,
  header: wire.ResponseHeader | undefined,
): wire.PutResponse {
  assert(result?.type === 'put', 'a put is answered as a put');
  const { previous } = result;
  return { header, prev_kv: previous === undefined ? undefined : keyValueOf(previous) };
}

export function deleteAnswer(
  result: OperationResult | undefined,
  header: wire.ResponseHeader | undefined,
): wire.DeleteRangeResponse {
  assert(result?.type === 'delete', 'a delete is answered as a delete');
  return { header, deleted: result.deleted, prev_kvs: result.previous.map(keyValueOf) };
}

export function txnAnswer(
  result: { readonly isSuccess: boolean; readonly results: readonly OperationResult[] },
  header: wire.ResponseHeader,
): wire.TxnResponse {
  const responses = result.results.map((each) => answerOf(each, header));
  return { header, succeeded: result.isSuccess, responses };
}

/** Inside a transaction only the revision of the header is told. */
function answerOf(result: OperationResult, whole: wire.ResponseHeader): wire.ResponseOp {
  const header = { cluster_id: 0, member_id: 0, revision: whole.revision, raft_term: 0 };
  switch (result.type) {
    case 'range':
      return { response_range: rangeAnswer(result, header) };
    case 'put':
      return { response_put: putAnswer(result, header) };
    case 'delete':
      return { response_delete_range: deleteAnswer(result, header) };
    case 'txn':
      return { response_txn: txnAnswer(result, header) };
    default:
      return unreachable(result);
  }
}
