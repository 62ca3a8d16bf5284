// How objects lie in the store, and how they are read back. Stored bytes are the JSON that clients
// see, less `metadata.resourceVersion`: that is the revision of the write, known only afterwards, so
// it is spliced in behind `"metadata":{`. Reads therefore copy bytes and rarely stringify.
// A StoredObject holds bytes. What is parsed of them lives as long as somebody else holds it: so
// followers in this process (informers) share one object, and what nobody follows takes no more than
// its bytes.
// A kind served in a second version has a codec for each: that of the version that is not stored
// converts on the way in and out, and keeps what it answers encoded anew. Where somebody outside
// converts, rows of other versions have to be prepared before they are looked at; others never wait.
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy, deepFreeze } from '#kube/machinery/equality.ts';
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

/** Events come within moments of the writes. */
const maxWritten = 256;

interface Written {
  readonly value: Uint8Array;
  /** Whoever comes first, the answer or the event, makes it for both. */
  stored?: StoredObject;
}

export class StorageCodec {
  readonly #headLength: number;
  readonly #versionHead: Uint8Array;
  readonly #applyDefaults: (object: KubeObject) => void;
  /** What was last encoded to be stored, by key: the store's events bring copies of those bytes. */
  readonly #written = new Map<string, Written>();
  readonly #storedAs: StoredAs | undefined;
  readonly #storedCodec: StorageCodec | undefined;
  readonly #converted: Converted | undefined;
  /** Admission reads them at every turn, and keeps what it makes of them by the object. */
  readonly keepsShared: boolean;
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
    this.keepsShared = definition.awaitsCache === true;
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
  async afterWrite(row: Row, bytes: Uint8Array): Promise<StoredObject> {
    if (this.#storedCodec === undefined)
      return this.#ofWritten(row) ?? new StoredObject(this, row, 'checked');
    const stored = new StoredObject(this, { ...row, value: bytes });
    await this.prepare([stored]);
    return stored;
  }

  /** The bytes of an answer, and to store: fields in the order apiVersion, kind, metadata, spec, others, status. */
  encode(object: KubeObject): Uint8Array {
    return encoder.encode(this.#text(object));
  }

  /** Of a row. What this process wrote itself is known to be as it should. */
  stored(kv: KeyValue): StoredObject {
    return this.#ofWritten(kv) ?? new StoredObject(this, kv);
  }

  #ofWritten(row: Row): StoredObject | undefined {
    const own = this.#written.get(row.key);
    if (own === undefined || Buffer.compare(own.value, row.value) !== 0) return undefined;
    // The same may have been written twice.
    if (own.stored?.revision === row.modRevision) {
      this.#written.delete(row.key);
      return own.stored;
    }
    own.stored = new StoredObject(this, { ...row, value: own.value }, 'checked');
    return own.stored;
  }

  /** Remembers what is about to be stored. */
  writing(key: string, value: Uint8Array): void {
    // Where it is stored as another version, the bytes that come are not these.
    if (this.#storedCodec !== undefined) return;
    this.#written.delete(key);
    if (this.#written.size >= maxWritten)
      for (const oldest of this.#written.keys()) {
        this.#written.delete(oldest);
        break;
      }
    this.#written.set(key, { value });
  }

  /** An object as a dry run leaves it: `revision` is that of the stored one, 0 if there is none. */
  transient(key: string, object: KubeObject, revision: number): StoredObject {
    return new StoredObject(
      this,
      { key, value: this.encode(object), modRevision: revision },
      'checked',
    );
  }

  /** Of stored bytes. */
  decode(value: Uint8Array): { object: KubeObject; isCurrent: boolean } {
    const text = decoder.decode(value);
    const object =
      this.#storedAs === undefined || this.#storedCodec === undefined
        ? (exactJson(text) as KubeObject)
        : this.#storedAs.fromStored(this.#storedCodec.decode(value).object);
    this.#applyDefaults(object);
    // Also false for bytes that this codec did not write: then they are encoded anew.
    return { object, isCurrent: text === this.#text(object) };
  }

  /**
   * `value` in encode()'s form with its resourceVersion; revision 0 (not stored) adds none.
   * `before`: the one it has already.
   */
  splice(value: Uint8Array, revision: number, before = 0): Uint8Array {
    if (revision === 0) return value;
    const field = versionField(revision);
    const at = this.#headLength;
    const rest = before === 0 ? at : at + versionField(before).length;
    // Not of Buffer's pool: this lives long, and would keep what else is in there.
    const result = Buffer.allocUnsafeSlow(value.length - (rest - at) + field.length);
    result.set(value.subarray(0, at));
    result.write(field, at, 'latin1');
    result.set(value.subarray(rest), at + field.length);
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

function versionField(revision: number): string {
  return `"resourceVersion":"${revision}",`;
}

function startsWith(value: Uint8Array, head: Uint8Array): boolean {
  return head.every((byte, index) => value[index] === byte);
}

export class StoredObject {
  readonly key: string;
  /** Of the write that made it: its resourceVersion as a number. */
  readonly revision: number;
  readonly #codec: StorageCodec;
  /** As clients see it; else `#row`. */
  #json: Uint8Array | undefined;
  /** As it lies in the store, until it is looked at. */
  #row: Uint8Array | undefined;
  #object: WeakRef<KubeObject> | undefined;
  #shared: WeakRef<KubeObject> | KubeObject | undefined;
  #isForeign = false;
  /** Under way. */
  conversion: Promise<void> | undefined;
  /** The row is of a version that is not stored any more: a write of the same brings it up to date. */
  readonly isOutdated: boolean = false;

  /** `checked`: the row is what encode() makes of the object today. */
  constructor(codec: StorageCodec, { key, value, modRevision }: Row, state?: 'checked') {
    this.#codec = codec;
    this.key = key;
    this.revision = modRevision;
    if (state === 'checked') {
      this.#json = codec.splice(value, modRevision);
      return;
    }
    this.#row = value;
    const { isForeign, isOutdated } = codec.versionOf(value);
    this.#isForeign = isForeign;
    this.isOutdated = isOutdated;
  }

  /** False: it has to be converted first. */
  get isReady(): boolean {
    return !this.#isForeign;
  }

  /** The row as it lies in the store, for whoever converts it. */
  parsedRow(): KubeObject {
    const object = parse(this.#row ?? new Uint8Array());
    if (this.revision !== 0) object.metadata.resourceVersion = String(this.revision);
    return object;
  }

  /** It has been converted. */
  becomes(object: KubeObject): void {
    this.#isForeign = false;
    this.#take(this.#codec.encode(object));
  }

  /** A copy of one's own, free to change. */
  copy(): KubeObject {
    const object = this.#object?.deref();
    return object === undefined ? parse(this.json) : deepCopy(object);
  }

  /** Shared by everyone: read-only. */
  get object(): KubeObject {
    let object = this.#object?.deref();
    if (object === undefined) {
      object = deepFreeze(parse(this.json));
      this.#object = new WeakRef(object);
    }
    return object;
  }

  /**
   * One for all who follow or choose: frozen, and without managedFields, which take as much as the rest.
   * Its integers are numbers, as every client here reads them; nobody writes it back.
   */
  get shared(): KubeObject {
    const held = this.#shared;
    const known = held instanceof WeakRef ? held.deref() : held;
    if (known !== undefined) return known;
    const object = JSON.parse(decoder.decode(this.json)) as KubeObject;
    const { managedFields: _, ...metadata } = object.metadata;
    const shared = deepFreeze({ ...object, metadata });
    this.#shared = this.#codec.keepsShared ? shared : new WeakRef(shared);
    return shared;
  }

  /** As clients see it. */
  get json(): Uint8Array {
    return this.#json ?? this.#checked();
  }

  /** The same object under another resourceVersion: events of deletion carry the deletion's. */
  jsonAt(revision: number): Uint8Array {
    return this.#codec.splice(this.json, revision, this.revision);
  }

  #checked(): Uint8Array {
    if (this.#isForeign) throw internalError(new Error(`${this.key} was not converted`));
    const row = this.#row ?? new Uint8Array();
    const { object, isCurrent } = this.#codec.decode(row);
    return this.#take(isCurrent ? row : this.#codec.encode(object));
  }

  #take(value: Uint8Array): Uint8Array {
    this.#row = undefined;
    return (this.#json = this.#codec.splice(value, this.revision));
  }
}

function parse(json: Uint8Array): KubeObject {
  return exactJson(decoder.decode(json)) as KubeObject;
}
