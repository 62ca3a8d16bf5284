// etcd's refusals: the code and the text its clients compare with, letter by letter; and which of
// the store's errors is which of them, in both directions.
// Source: etcd api/v3rpc/rpctypes/error.go.
import { unreachable } from '#kube/base/assert.ts';
import type { CommandFailure } from '../store/commands.ts';
import {
  CompactedError,
  FutureRevisionError,
  NoSpaceError,
  OutcomeUnknownError,
  UnavailableError,
} from '../store/store.ts';
import { GrpcError, grpcCodes } from './grpc.ts';

const { invalidArgument, outOfRange, notFound, failedPrecondition, unavailable } = grpcCodes;

const texts = {
  emptyKey: [invalidArgument, 'etcdserver: key is not provided'],
  keyNotFound: [invalidArgument, 'etcdserver: key not found'],
  valueProvided: [invalidArgument, 'etcdserver: value is provided'],
  leaseProvided: [invalidArgument, 'etcdserver: lease is provided'],
  tooManyOperations: [invalidArgument, 'etcdserver: too many operations in txn request'],
  duplicateKey: [invalidArgument, 'etcdserver: duplicate key given in txn request'],
  requestTooLarge: [invalidArgument, 'etcdserver: request is too large'],
  invalidSortOption: [invalidArgument, 'etcdserver: invalid sort option'],
  compacted: [outOfRange, 'etcdserver: mvcc: required revision has been compacted'],
  futureRevision: [outOfRange, 'etcdserver: mvcc: required revision is a future revision'],
  noSpace: [grpcCodes.resourceExhausted, 'etcdserver: mvcc: database space exceeded'],
  leaseNotFound: [notFound, 'etcdserver: requested lease not found'],
  leaseExists: [failedPrecondition, 'etcdserver: lease already exists'],
  leaseTtlTooLarge: [outOfRange, 'etcdserver: too large lease TTL'],
  noLeader: [unavailable, 'etcdserver: no leader'],
  timeout: [unavailable, 'etcdserver: request timed out'],
} as const;

export type Refusal = keyof typeof texts;

export function refusal(name: Refusal): GrpcError {
  const [code, text] = texts[name];
  return new GrpcError(code, text);
}

export function isRefusal(error: unknown, name: Refusal): boolean {
  return error instanceof GrpcError && error.message === texts[name][1];
}

/** What a client is told of an error the store threw; others are given back as they are. */
export function asRefusal(error: unknown): unknown {
  if (error instanceof CompactedError) return refusal('compacted');
  if (error instanceof FutureRevisionError) return refusal('futureRevision');
  if (error instanceof NoSpaceError) return refusal('noSpace');
  if (error instanceof UnavailableError) return refusal('noLeader');
  if (error instanceof OutcomeUnknownError) return refusal('timeout');
  return error;
}

export function ofFailure(failure: CommandFailure): GrpcError {
  switch (failure) {
    case 'compacted':
      return refusal('compacted');
    case 'future-revision':
      return refusal('futureRevision');
    case 'lease-not-found':
    // Only expiry asks for what can have this answer.
    case 'lease-kept':
      return refusal('leaseNotFound');
    case 'lease-exists':
      return refusal('leaseExists');
    case 'key-not-found':
      return refusal('keyNotFound');
    case 'duplicate-key':
      return refusal('duplicateKey');
    case 'unknown-command':
      return new GrpcError(grpcCodes.unimplemented, 'the request could not be understood');
    default:
      return unreachable(failure);
  }
}
