// How objects lie in the store, and how they are read back. Stored bytes are the JSON that clients
// see, less `metadata.resourceVersion`: that is the revision of the write, known only afterwards, so
// it is spliced in behind `"metadata":{`. Reads therefore copy bytes and rarely stringify.
// A StoredObject is decoded at most once; its `object` is shared and must not be changed.
// A kind served in a second version has a codec for each: that of the version that is not stored
// converts on the way in and out, and keeps what it answers encoded anew.
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import type { KeyValue } from '../store/store.ts';
import type { ResourceDefinition, StoredAs } from './resource.ts';
import { apiVersionOfResource } from './resource-table.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

type Row = Pick<KeyValue, 'key' | 'value' | 'modRevision'>;

interface Encoded {
  readonly value: Uint8Array;
  readonly object: KubeObject;
}

/** Events come within moments of the writes. */
const maxWritten = 256;

export class StorageCodec {
  readonly #headLength: number;
  readonly #applyDefaults: (object: KubeObject) => void;
  /** What was last encoded to be stored, by key: the store's events bring copies of those bytes. */
  readonly #written = new Map<string, Encoded>();
  readonly #storedAs: StoredAs | undefined;
  readonly #storedCodec: StorageCodec | undefined;
  readonly apiVersion: string;
  readonly kind: string;

  /** `defaultsOf` a kind are idempotent: they also run on what older versions have stored. */
  constructor(
    definition: ResourceDefinition,
    defaultsOf: (definition: ResourceDefinition) => (object: KubeObject) => void,
  ) {
    this.apiVersion = apiVersionOfResource(definition);
    this.kind = definition.kind;
    this.#applyDefaults = defaultsOf(definition);
    this.#storedAs = definition.storedAs;
    if (definition.storedAs !== undefined)
      this.#storedCodec = new StorageCodec(definition.storedAs.definition, defaultsOf);
    const head = `{"apiVersion":"${this.apiVersion}","kind":"${this.kind}","metadata":{`;
    this.#headLength = head.length;
  }

  /** The bytes to store, of an object and what encode() made of it. */
  encodeStored(object: KubeObject, answer: Uint8Array): Uint8Array {
    if (this.#storedAs === undefined || this.#storedCodec === undefined) return answer;
    const stored = this.#storedAs.toStored(object);
    this.#storedCodec.#applyDefaults(stored);
    return this.#storedCodec.encode(stored);
  }

  /**
   * The bytes of an answer, and to store: fields in the order apiVersion, kind, metadata, spec, others, status.
   * Once they are stored, `object` is shared and must not be changed.
   */
  encode(object: KubeObject): Uint8Array {
    return encoder.encode(this.#text(object));
  }

  /** Of a row. What this process wrote itself is not decoded. */
  stored(kv: KeyValue): StoredObject {
    const own = this.#written.get(kv.key);
    if (own === undefined || !isSame(own.value, kv.value)) return new StoredObject(this, kv);
    const resourceVersion = String(kv.modRevision);
    // A writer shares its object; a deletion's revision belongs to another one.
    const { metadata } = own.object;
    const isOwn = (metadata.resourceVersion ?? resourceVersion) === resourceVersion;
    if (isOwn) metadata.resourceVersion = resourceVersion;
    const object = isOwn
      ? own.object
      : { ...own.object, metadata: { ...metadata, resourceVersion } };
    return new StoredObject(this, { ...kv, value: own.value }, object);
  }

  /** Remembers what is about to be stored. `object` is shared from now on. */
  writing(key: string, value: Uint8Array, object: KubeObject): void {
    if (this.#storedAs !== undefined) return;
    this.#written.delete(key);
    if (this.#written.size >= maxWritten)
      for (const oldest of this.#written.keys()) {
        this.#written.delete(oldest);
        break;
      }
    this.#written.set(key, { value, object });
  }

  /** The store refused it: the object may be changed and tried again. */
  notWritten(key: string, value: Uint8Array): void {
    if (this.#written.get(key)?.value === value) this.#written.delete(key);
  }

  /** What was just written: `value` is `object` encoded. From now on `object` is shared. */
  written(key: string, value: Uint8Array, object: KubeObject, revision: number): StoredObject {
    if (revision !== 0) object.metadata.resourceVersion = String(revision);
    return new StoredObject(this, { key, value, modRevision: revision }, object);
  }

  /** An object as a dry run leaves it: `revision` is that of the stored one, 0 if there is none. */
  transient(key: string, object: KubeObject, revision: number): StoredObject {
    return this.written(key, this.encode(object), object, revision);
  }

  /** Of stored bytes. */
  decode(value: Uint8Array, revision: number): { object: KubeObject; isCurrent: boolean } {
    const text = decoder.decode(value);
    const object =
      this.#storedAs === undefined || this.#storedCodec === undefined
        ? (JSON.parse(text) as KubeObject)
        : this.#storedAs.fromStored(this.#storedCodec.decode(value, 0).object);
    this.#applyDefaults(object);
    // Also false for bytes that this codec did not write: then they are encoded anew.
    const isCurrent = text === this.#text(object);
    if (revision !== 0) object.metadata.resourceVersion = String(revision);
    return { object, isCurrent };
  }

  /** `value` in encode()'s form with its resourceVersion; revision 0 (not stored) adds none. */
  splice(value: Uint8Array, revision: number): Uint8Array {
    if (revision === 0) return value;
    const field = encoder.encode(`"resourceVersion":"${revision}",`);
    const at = this.#headLength;
    const result = new Uint8Array(value.length + field.length);
    result.set(value.subarray(0, at));
    result.set(field, at);
    result.set(value.subarray(at), at + field.length);
    return result;
  }

  #text(object: KubeObject): string {
    const { metadata, spec, status, ...rest } = object as KubeObject & Record<string, unknown>;
    const { resourceVersion: _, ...storedMetadata } = metadata;
    const ordered: Record<string, unknown> = {
      apiVersion: this.apiVersion,
      kind: this.kind,
      metadata: storedMetadata,
    };
    if (spec !== undefined) ordered['spec'] = spec;
    for (const [name, value] of Object.entries(rest))
      if (name !== 'apiVersion' && name !== 'kind') ordered[name] = value;
    if (status !== undefined) ordered['status'] = status;
    return JSON.stringify(ordered);
  }
}

export class StoredObject {
  readonly key: string;
  /** Of the write that made it: its resourceVersion as a number. */
  readonly revision: number;
  readonly #codec: StorageCodec;
  #value: Uint8Array;
  #object: KubeObject | undefined;
  #json: Uint8Array | undefined;

  constructor(codec: StorageCodec, kv: Row, object?: KubeObject) {
    this.#codec = codec;
    this.#object = object;
    this.key = kv.key;
    this.revision = kv.modRevision;
    this.#value = kv.value;
  }

  /** Shared by everyone: read-only. */
  get object(): KubeObject {
    if (this.#object === undefined) {
      const { object, isCurrent } = this.#codec.decode(this.#value, this.revision);
      if (!isCurrent) this.#value = this.#codec.encode(object);
      this.#object = object;
    }
    return this.#object;
  }

  /** A copy of one's own, free to change. */
  copy(): KubeObject {
    return deepCopy(this.object);
  }

  /** As clients see it. Made once. */
  get json(): Uint8Array {
    this.#json ??= this.jsonAt(this.revision);
    return this.#json;
  }

  /** The same object under another resourceVersion: events of deletion carry the deletion's. */
  jsonAt(revision: number): Uint8Array {
    void this.object;
    return this.#codec.splice(this.#value, revision);
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
