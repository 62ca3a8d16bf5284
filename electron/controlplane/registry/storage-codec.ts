// How objects lie in the store, and how they are read back. Stored bytes are the JSON that clients
// see, less `metadata.resourceVersion`: that is the revision of the write, known only afterwards, so
// it is spliced in behind `"metadata":{`. Reads therefore copy bytes and rarely stringify.
// A StoredObject is decoded at most once; its `object` is shared and must not be changed.
// A kind served in a second version has a codec for each: that of the version that is not stored
// converts on the way in and out, and keeps what it answers encoded anew. Where somebody outside
// converts, rows of other versions have to be prepared before they are looked at; others never wait.
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import { exactJson } from '#kube/machinery/exact-json.ts';
import { internalError } from '#kube/machinery/status.ts';
import type { KeyValue } from '../store/store.ts';
import type { Converted, ResourceDefinition, StoredAs } from './resource.ts';
import { apiVersionOfResource } from './resource-table.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface RowVersion {
  readonly isForeign: boolean;
  readonly isOutdated: boolean;
}
const sameVersion: RowVersion = { isForeign: false, isOutdated: false };

type Row = Pick<KeyValue, 'key' | 'value' | 'modRevision'>;

/** How all stored JSON of a kind begins. ASCII: as many bytes as characters. */
export function typeHeadOf(definition: ResourceDefinition): string {
  return `{"apiVersion":"${apiVersionOfResource(definition)}","kind":"${definition.kind}",`;
}

interface Encoded {
  readonly value: Uint8Array;
  readonly object: KubeObject;
}

/** Events come within moments of the writes. */
const maxWritten = 256;

export class StorageCodec {
  readonly #headLength: number;
  readonly #versionHead: Uint8Array;
  readonly #applyDefaults: (object: KubeObject) => void;
  /** What was last encoded to be stored, by key: the store's events bring copies of those bytes. */
  readonly #written = new Map<string, Encoded>();
  readonly #storedAs: StoredAs | undefined;
  readonly #storedCodec: StorageCodec | undefined;
  readonly #converted: Converted | undefined;
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
    this.#converted = definition.converted;
    const stored = definition.storedAs?.definition ?? definition.converted?.stored;
    if (stored !== undefined) this.#storedCodec = new StorageCodec(stored, defaultsOf);
    this.#headLength = `${typeHeadOf(definition)}"metadata":{`.length;
    this.#versionHead = encoder.encode(`{"apiVersion":"${this.apiVersion}",`);
  }

  /** The bytes to store, of an object and what encode() made of it. */
  encodeStored(object: KubeObject, answer: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const codec = this.#storedCodec;
    if (codec === undefined) return answer;
    if (this.#converted !== undefined) return this.#convertStored(this.#converted, codec, object);
    if (this.#storedAs === undefined) return answer;
    const stored = this.#storedAs.toStored(object);
    codec.#applyDefaults(stored);
    return codec.encode(stored);
  }

  async #convertStored(
    { by }: Converted,
    codec: StorageCodec,
    object: KubeObject,
  ): Promise<Uint8Array> {
    const [stored] = await by.convert([object], codec.apiVersion);
    if (stored === undefined) throw internalError(new Error('nothing was converted'));
    codec.#applyDefaults(stored);
    return codec.encode(stored);
  }

  /**
   * Awaited before objects are looked at, all of them at once. Undefined: nothing has to be waited for.
   * Throws a StatusError when one can't be converted.
   */
  prepare(items: readonly StoredObject[]): Promise<void> | undefined {
    if (this.#converted === undefined) return undefined;
    const foreign = items.filter(({ isReady }) => !isReady);
    if (foreign.length === 0) return undefined;
    const fresh = foreign.filter(({ conversion }) => conversion === undefined);
    if (fresh.length > 0) {
      const conversion = this.#convertRows(this.#converted, fresh).finally(() => {
        for (const row of fresh) row.conversion = undefined;
      });
      for (const row of fresh) row.conversion = conversion;
    }
    // Whoever comes while a row is converted waits for the same.
    const conversions = new Set(foreign.flatMap(({ conversion }) => conversion ?? []));
    return Promise.all(conversions).then(() => undefined);
  }

  async #convertRows({ by }: Converted, rows: readonly StoredObject[]): Promise<void> {
    const given = rows.map((row) => row.parsedRow());
    const stored = this.#storedCodec;
    for (const row of given) if (row.apiVersion === stored?.apiVersion) stored.#applyDefaults(row);
    const made = await by.convert(given, this.apiVersion);
    for (const [index, row] of rows.entries()) {
      const object = made[index];
      if (object === undefined) continue;
      this.#applyDefaults(object);
      row.becomes(object);
    }
  }

  /** Whether a row is of another version than this one, or than what is stored today. */
  versionOf(value: Uint8Array): RowVersion {
    if (this.#converted === undefined) return sameVersion;
    const isForeign = !startsWith(value, this.#versionHead);
    return {
      isForeign,
      isOutdated: !startsWith(value, (this.#storedCodec ?? this).#versionHead),
    };
  }

  /** What is answered for a row that was just written: where it is stored as another version, what comes back of it. */
  async afterWrite(row: Row, bytes: Uint8Array, object: KubeObject): Promise<StoredObject> {
    if (this.#storedCodec === undefined)
      return this.written(row.key, row.value, object, row.modRevision);
    const stored = new StoredObject(this, { ...row, value: bytes });
    await this.prepare([stored]);
    return stored;
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
    // Where it is stored as another version, the bytes that come are not these.
    if (this.#storedCodec !== undefined) return;
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
        ? (exactJson(text) as KubeObject)
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

function startsWith(value: Uint8Array, head: Uint8Array): boolean {
  return head.every((byte, index) => value[index] === byte);
}

export class StoredObject {
  readonly key: string;
  /** Of the write that made it: its resourceVersion as a number. */
  readonly revision: number;
  readonly #codec: StorageCodec;
  #value: Uint8Array;
  #object: KubeObject | undefined;
  #json: Uint8Array | undefined;
  #isForeign = false;
  /** Under way. */
  conversion: Promise<void> | undefined;
  /** The row is of a version that is not stored any more: a write of the same brings it up to date. */
  readonly isOutdated: boolean = false;

  constructor(codec: StorageCodec, kv: Row, object?: KubeObject) {
    this.#codec = codec;
    this.#object = object;
    this.key = kv.key;
    this.revision = kv.modRevision;
    this.#value = kv.value;
    if (object !== undefined) return;
    const { isForeign, isOutdated } = codec.versionOf(kv.value);
    this.#isForeign = isForeign;
    this.isOutdated = isOutdated;
  }

  /** False: it has to be converted first. */
  get isReady(): boolean {
    return !this.#isForeign;
  }

  /** The row as it lies in the store, for whoever converts it. */
  parsedRow(): KubeObject {
    const object = exactJson(decoder.decode(this.#value)) as KubeObject;
    if (this.revision !== 0) object.metadata.resourceVersion = String(this.revision);
    return object;
  }

  /** It has been converted. */
  becomes(object: KubeObject): void {
    this.#object = object;
    this.#value = this.#codec.encode(object);
    if (this.revision !== 0) object.metadata.resourceVersion = String(this.revision);
    this.#isForeign = false;
  }

  /** Shared by everyone: read-only. */
  get object(): KubeObject {
    if (this.#isForeign) throw internalError(new Error(`${this.key} was not converted`));
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
