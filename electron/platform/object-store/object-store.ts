// Where backups are kept: named objects, each written whole or not at all, in a folder or elsewhere. It
// knows nothing of what they hold. Names are paths of plain segments, so that they mean the same on
// every disk and in every bucket.
// Each implementation keeps to `objectStoreConformance` (test/conformance).
import type { Chunks } from '../age/byte-reader.ts';

export interface StoredObject {
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

export interface ObjectStore {
  /** For sentences: "the folder /media/backup". */
  readonly place: string;
  /**
   * Durable under its name when it resolves, in place of what had the name; whatever else comes about,
   * nothing has changed, and nothing half-written is ever listed or read.
   */
  put(name: string, chunks: Chunks, signal?: AbortSignal): Promise<StoredObject>;
  /** Throws while it is read, ObjectStoreError of `missing` when there is none. */
  get(name: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Whose names begin so, by name. */
  list(prefix?: string, signal?: AbortSignal): Promise<readonly StoredObject[]>;
  /** None of that name is as good. */
  delete(name: string, signal?: AbortSignal): Promise<void>;
}

export type ObjectStoreProblem =
  | 'bad-name'
  /** There is no object of that name. */
  | 'missing'
  /** The store itself is not there: a disk that isn't mounted, a server that doesn't answer. */
  | 'away'
  | 'full'
  | 'refused'
  | 'failed';

/** Its message is a sentence for a person: what happened, to what, what to do. */
export class ObjectStoreError extends Error {
  override readonly name = 'ObjectStoreError';
  readonly problem: ObjectStoreProblem;

  constructor(problem: ObjectStoreProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.problem = problem;
  }
}

const segment = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const nameLength = 512;

/** Throws ObjectStoreError: nothing that leads elsewhere, is hidden, or that some disk or bucket can't name. */
export function assertObjectName(name: string): void {
  const isNamed = name.split('/').every((part) => segment.test(part) && !part.endsWith('.'));
  if (name.length > nameLength || !isNamed)
    throw new ObjectStoreError(
      'bad-name',
      `"${name.slice(0, nameLength)}" can't name an object: use letters, digits, ".", "_" and "-", and "/" between parts.`,
    );
}
