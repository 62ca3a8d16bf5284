// The one place where the store's errors become Status errors.
// Source: kubernetes apiserver pkg/registry/generic/registry/storage_factory and
// pkg/api/errors/storage/storage.go for which answer follows from which failure.
import {
  insufficientStorage,
  serviceUnavailable,
  timeout,
  type StatusError,
} from '#kube/machinery/status.ts';
import { NoSpaceError, OutcomeUnknownError, UnavailableError } from '../store/store.ts';
import type { ResourceDefinition } from './resource.ts';

export type StoreOperation = 'get' | 'list' | 'create' | 'update' | 'delete';

/** The Status for a store failure; undefined when `error` is not one that a client can act on. */
export function statusOfStoreError(
  error: unknown,
  definition: ResourceDefinition,
  operation: StoreOperation,
): StatusError | undefined {
  // Differs: Kubernetes answers 500 with etcd's words. Without a Retry-After, clients don't repeat
  // by themselves what may have happened.
  if (error instanceof OutcomeUnknownError)
    return timeout(
      `whether the ${operation} of the ${definition.kind} happened is not known (${error.message}): look before trying again`,
    );
  // A read has waited for a majority already: a client that tries ten times more would hang. A write
  // was refused at once.
  const isRead = operation === 'get' || operation === 'list';
  if (error instanceof UnavailableError) return serviceUnavailable(error.message, isRead ? 0 : 1);
  if (error instanceof NoSpaceError) return insufficientStorage(error.message);
  return undefined;
}

/** Runs a store call and throws what clients should see. */
export async function storeCall<T>(
  definition: ResourceDefinition,
  operation: StoreOperation,
  call: () => Promise<T>,
): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw statusOfStoreError(error, definition, operation) ?? error;
  }
}
