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

/** How all stored JSON of a kind begins. ASCII: as many bytes as characters. */
export function typeHeadOf(definition: ResourceDefinition): string {
  return `{"apiVersion":"${apiVersionOfResource(definition)}","kind":"${definition.kind}",`;
}

export class StorageCodec {
  readonly #headLength: number;
  readonly #applyDefaults: (object: KubeObject) => void;
  /** What bytes were encoded from: the store's events carry the same arrays back. */
  readonly #encoded = new WeakMap<Uint8Array, KubeObject>();
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
    this.#headLength = `${typeHeadOf(definition)}"metadata":{`.length;
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
    const value = encoder.encode(this.#text(object));
    this.#encoded.set(value, object);
    return value;
  }

  stored(kv: KeyValue): StoredObject {
    return new StoredObject(this, kv);
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

  /** The object that `value` was encoded from, if this process did that. */
  encodedFrom(value: Uint8Array): KubeObject | undefined {
    return this.#encoded.get(value);
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
    this.#object ??= this.#known();
    if (this.#object === undefined) {
      const { object, isCurrent } = this.#codec.decode(this.#value, this.revision);
      if (!isCurrent) this.#value = this.#codec.encode(object);
      this.#object = object;
    }
    return this.#object;
  }

  #known(): KubeObject | undefined {
    const object = this.#codec.encodedFrom(this.#value);
    const resourceVersion = String(this.revision);
    // The writer sets the revision too, when it hears of it. A deletion's is another object.
    if (object === undefined || object.metadata.resourceVersion === resourceVersion) return object;
    return { ...object, metadata: { ...object.metadata, resourceVersion } };
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
