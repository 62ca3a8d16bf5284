// A transaction against the state: which branch holds, whether all of it may happen, then all of it
// at one revision. Every comparison, also a nested one, is made before the first write; what could
// fail is looked at before, so that a refused transaction has written nothing.
// Source: etcd server/etcdserver/apply (order of checks), api/v3rpc/key.go (keys put twice).
import { unreachable } from '#kube/base/assert.ts';
import { isInRange } from './byte-keys.ts';
import type {
  ByteKey,
  CommandFailure,
  Compare,
  KeyRange,
  Operation,
  OperationResult,
  PutOperation,
  Txn,
  TxnResult,
} from './commands.ts';
import type { Mvcc } from './mvcc.ts';
import type { Version } from './revision-index.ts';

/** A transaction whose branches are chosen. */
interface Chosen {
  readonly isSuccess: boolean;
  readonly steps: readonly Step[];
}
type Step = Exclude<Operation, { type: 'txn' }> | ({ readonly type: 'txn' } & Chosen);

export function runTxn(mvcc: Mvcc, txn: Txn): TxnResult | CommandFailure {
  if (putsTwice(txn)) return 'duplicate-key';
  const chosen = choose(mvcc, txn);
  const failure = obstacle(mvcc, chosen);
  if (failure !== undefined) return failure;
  return perform(mvcc, chosen, mvcc.index.currentRevision + 1);
}

/** True when neither branch, however deep, can write. */
export function isReadOnly(txn: Txn): boolean {
  return [...txn.success, ...txn.failure].every(
    (operation) =>
      operation.type === 'range' || (operation.type === 'txn' && isReadOnly(operation)),
  );
}

interface Writes {
  readonly puts: ReadonlySet<ByteKey>;
  readonly deletes: readonly KeyRange[];
}

class PutTwice extends Error {}

function putsTwice(txn: Txn): boolean {
  try {
    writesOf(txn.success);
    writesOf(txn.failure);
    return false;
  } catch (error) {
    if (error instanceof PutTwice) return true;
    throw error;
  }
}

/**
 * What a branch may write. Throws PutTwice for a key that is put twice, or put and deleted, on one
 * path; the two branches of a nested transaction exclude each other.
 */
function writesOf(branch: readonly Operation[]): Writes {
  const puts = new Set<ByteKey>();
  const deletes: KeyRange[] = [];
  for (const operation of branch) if (operation.type === 'delete') deletes.push(operation.range);
  function add(key: ByteKey): void {
    if (puts.has(key) || deletes.some((range) => isInRange(range, key))) throw new PutTwice();
  }
  for (const operation of branch) {
    if (operation.type !== 'txn') continue;
    const success = writesOf(operation.success);
    const failure = writesOf(operation.failure);
    for (const key of success.puts) add(key);
    for (const key of failure.puts) add(key);
    for (const key of [...success.puts, ...failure.puts]) puts.add(key);
    deletes.push(...success.deletes, ...failure.deletes);
  }
  for (const operation of branch) {
    if (operation.type !== 'put') continue;
    add(operation.key);
    puts.add(operation.key);
  }
  return { puts, deletes };
}

function choose(mvcc: Mvcc, { compares, success, failure }: Txn): Chosen {
  const isSuccess = compares.every((compare) => holds(mvcc, compare));
  const branch = isSuccess ? success : failure;
  const steps = branch.map((operation): Step =>
    operation.type === 'txn' ? { type: 'txn', ...choose(mvcc, operation) } : operation,
  );
  return { isSuccess, steps };
}

function holds(mvcc: Mvcc, compare: Compare): boolean {
  const found: (Version | undefined)[] = [];
  mvcc.index.visit(compare.range, mvcc.index.currentRevision, (version) => found.push(version));
  if (found.length === 0) {
    // No value is neither equal to a value nor not.
    if (compare.target === 'value') return false;
    found.push(undefined);
  }
  return found.every((version) => isRelation(compare, difference(mvcc, compare, version)));
}

/** Below, at or above 0 as the version is below, at or above the operand. */
function difference(mvcc: Mvcc, { target, operand }: Compare, version?: Version): number {
  if (typeof operand !== 'number')
    return version === undefined ? -1 : Buffer.compare(mvcc.value(version), operand);
  switch (target) {
    case 'version':
      return (version?.version ?? 0) - operand;
    case 'create':
      return (version?.createRevision ?? 0) - operand;
    case 'mod':
      return (version?.revision ?? 0) - operand;
    case 'lease':
      return (version?.lease ?? 0) - operand;
    case 'value':
      return 1;
    default:
      return unreachable(target);
  }
}

function isRelation({ relation }: Compare, sign: number): boolean {
  switch (relation) {
    case 'equal':
      return sign === 0;
    case 'not-equal':
      return sign !== 0;
    case 'greater':
      return sign > 0;
    case 'less':
      return sign < 0;
    default:
      return unreachable(relation);
  }
}

function obstacle(mvcc: Mvcc, { steps }: Chosen): CommandFailure | undefined {
  for (const step of steps) {
    const failure = step.type === 'txn' ? obstacle(mvcc, step) : obstacleOf(mvcc, step);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

function obstacleOf(
  mvcc: Mvcc,
  operation: Exclude<Operation, { type: 'txn' }>,
): CommandFailure | undefined {
  const { index, leases } = mvcc;
  switch (operation.type) {
    case 'delete':
      return undefined;
    case 'range':
      if (operation.revision > index.currentRevision) return 'future-revision';
      if (operation.revision > 0 && operation.revision < index.compactedRevision)
        return 'compacted';
      return undefined;
    case 'put': {
      const keeps = operation.keepsValue === true || operation.keepsLease === true;
      if (keeps && index.find(operation.key) === undefined) return 'key-not-found';
      const isLeased = operation.lease !== 0 && operation.keepsLease !== true;
      return isLeased && leases.get(operation.lease) === undefined ? 'lease-not-found' : undefined;
    }
    default:
      return unreachable(operation);
  }
}

function perform(mvcc: Mvcc, { isSuccess, steps }: Chosen, revision: number): TxnResult {
  const results = steps.map((step): OperationResult => {
    switch (step.type) {
      case 'range':
        return mvcc.range(step);
      case 'put':
        return put(mvcc, step, revision);
      case 'delete':
        return remove(mvcc, step, revision);
      case 'txn':
        return perform(mvcc, step, revision);
      default:
        return unreachable(step);
    }
  });
  return { type: 'txn', isSuccess, results };
}

function put(mvcc: Mvcc, operation: PutOperation, revision: number): OperationResult {
  const { key, wantsPrevious, keepsValue, keepsLease } = operation;
  const before = mvcc.index.find(key);
  const needsRow = before !== undefined && (wantsPrevious === true || keepsValue === true);
  const previous = needsRow ? mvcc.row(before) : undefined;
  const value = keepsValue === true && previous !== undefined ? previous.value : operation.value;
  const lease = keepsLease === true ? (before?.lease ?? 0) : operation.lease;
  mvcc.put({ key, value, lease, before, revision });
  return wantsPrevious === true && previous !== undefined
    ? { type: 'put', previous }
    : { type: 'put' };
}

function remove(
  mvcc: Mvcc,
  { range, wantsPrevious }: Extract<Operation, { type: 'delete' }>,
  revision: number,
): OperationResult {
  const found: Version[] = [];
  mvcc.index.visit(range, mvcc.index.currentRevision, (version) => found.push(version));
  const previous = wantsPrevious === true ? found.map((version) => mvcc.row(version)) : [];
  for (const version of found) mvcc.delete(version, revision);
  return { type: 'delete', deleted: found.length, previous };
}
