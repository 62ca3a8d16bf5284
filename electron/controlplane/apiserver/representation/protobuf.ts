// Decodes `application/vnd.kubernetes.protobuf` request bodies of built-in kinds into their JSON form:
// kubectl create and Helm send them and know no fallback. Answers are always JSON.
// Two sources say how: protobuf.json the wire (field numbers, types), the JSON schemas the shape
// (a message field that JSON does not know by name is one that Go embeds inline).
// Source: kubernetes apimachinery pkg/runtime/serializer/protobuf/protobuf.go (the envelope).
import protobuf, { type Root, type Type } from 'protobufjs/light.js';
import type { UnstructuredObject } from '#kube/api/object.ts';
import { rfc3339, rfc3339Micro } from '#kube/base/clock.ts';
import { exactJson } from '#kube/machinery/exact-json.ts';
import { badRequest } from '#kube/machinery/status.ts';

export const protobufMediaType = 'application/vnd.kubernetes.protobuf';

/** The part of a JSON schema that says how a message looks in JSON. */
export interface JsonShape {
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, JsonShape>>;
  readonly items?: JsonShape;
  readonly additionalProperties?: JsonShape;
}

export interface ProtobufDecoderDeps {
  /** resources/schema/protobuf.json. */
  readonly descriptors: object;
  /** `core/v1.PodSpec` → its schema. */
  readonly shapeOf: (name: string) => JsonShape | undefined;
}

/** `k8s` and a zero byte: what every such body begins with. */
const magic = [0x6b, 0x38, 0x73, 0x00];
const runtimePackage = 'k8s.io.apimachinery.pkg.runtime';
const metaPackage = 'k8s.io.apimachinery.pkg.apis.meta.v1';
const otherPackages = [
  'k8s.io.apiextensions_apiserver.pkg.apis',
  'k8s.io.kube_aggregator.pkg.apis',
];

/**
 * Scalars that Go holds by pointer: for them an explicit zero says something. All other zeros on the
 * wire only mean that Go writes every field, and are left out as Go's own JSON does.
 * Source: kubernetes k8s.io/api and apimachinery types.go.
 */
const pointerFields: ReadonlySet<string> = words(`
  activeDeadlineSeconds allocateLoadBalancerNodePorts allowPrivilegeEscalation allowVolumeExpansion
  allows attachRequired automountServiceAccountToken backoffLimit backoffLimitPerIndex
  blockOwnerDeletion borrowingLimitPercent completions controller
  defaultMode deletionGracePeriodSeconds enableServiceLinks expirationSeconds
  failedJobsHistoryLimit fsGroup gracePeriodSeconds holderIdentity hostUsers immutable
  leaseDurationSeconds leaseTransitions lendablePercent manualSelector maxFailedIndexes maximum maxItems
  maxLength maxProperties minimum minItems minLength minProperties minReplicas mode
  nominalConcurrencyShares optional podInfoOnMount
  orphanDependents parallelism priority privileged progressDeadlineSeconds
  readOnlyRootFilesystem ready replicas requiresRepublish revisionHistoryLimit seLinuxMount
  stabilizationWindowSeconds storageCapacity runAsGroup runAsNonRoot runAsUser
  serving setHostnameAsFQDN shareProcessNamespace started startingDeadlineSeconds
  storageClassName successfulJobsHistoryLimit suspend terminating
  terminationGracePeriodSeconds tolerationSeconds ttlSecondsAfterFinished
  volumeAttributesClassName x-kubernetes-preserve-unknown-fields
`);

export class ProtobufDecoder {
  readonly #deps: ProtobufDecoderDeps;
  #parsed: Root | undefined;

  constructor(deps: ProtobufDecoderDeps) {
    this.#deps = deps;
  }

  /** Parsed at the first such body: a start has no time for it. */
  get #root(): Root {
    return (this.#parsed ??= protobuf.Root.fromJSON(this.#deps.descriptors));
  }

  /** Throws a 400 StatusError for a body that is not one, or of a type nobody knows. */
  decode(body: Uint8Array): UnstructuredObject {
    if (magic.some((byte, index) => body[index] !== byte))
      throw badRequest(
        'the request body is not Kubernetes protobuf: its first four bytes are wrong',
      );
    const envelope = this.#read(`${runtimePackage}.Unknown`, body.subarray(magic.length));
    const { apiVersion = '', kind = '' } = (envelope['typeMeta'] ?? {}) as Record<string, string>;
    const typeName = this.#typeName(apiVersion, kind);
    if (typeName === undefined)
      throw badRequest(
        `no kind "${kind}" is registered for version "${apiVersion}" in protobuf form`,
      );
    const raw = (envelope['raw'] ?? new Uint8Array()) as Uint8Array;
    const type = this.#root.lookupType(typeName);
    const fields = this.#message(type, this.#read(typeName, raw), this.#shape(typeName));
    const object: Record<string, unknown> = { apiVersion, kind, metadata: {} };
    return Object.assign(object, fields) as UnstructuredObject;
  }

  #read(typeName: string, bytes: Uint8Array): Record<string, unknown> {
    try {
      return this.#root.lookupType(typeName).decode(bytes) as object as Record<string, unknown>;
    } catch (error) {
      throw badRequest(`the request body is broken protobuf: ${(error as Error).message}`);
    }
  }

  /** `apps/v1` and `Deployment` → `k8s.io.api.apps.v1.Deployment`; meta types exist in every group. */
  #typeName(apiVersion: string, kind: string): string | undefined {
    const [group = '', version = ''] = apiVersion.includes('/')
      ? apiVersion.split('/')
      : ['core', apiVersion];
    const candidates = [
      `k8s.io.api.${group.split('.')[0]}.${version}.${kind}`,
      ...otherPackages.map((name) => `${name}.${group.split('.')[0]}.${version}.${kind}`),
      `${metaPackage}.${kind}`,
    ];
    return candidates.find((name) => this.#lookup(name) !== undefined);
  }

  #lookup(name: string): Type | undefined {
    try {
      return this.#root.lookupType(name);
    } catch {
      return undefined;
    }
  }

  /** Full protobuf name → JSON schema: `k8s.io.api.core.v1.Pod` → `core/v1.Pod`. */
  #shape(typeName: string): JsonShape {
    const [group, version, kind] = typeName.split('.').slice(-3);
    return this.#deps.shapeOf(`${group}/${version}.${kind}`) ?? {};
  }

  #resolve(shape: JsonShape | undefined): JsonShape {
    return (shape?.$ref === undefined ? shape : this.#deps.shapeOf(shape.$ref)) ?? {};
  }

  #message(type: Type, value: Record<string, unknown>, given: JsonShape): Record<string, unknown> {
    const shape = this.#resolve(given);
    const result: Record<string, unknown> = {};
    for (const field of type.fieldsArray) {
      if (!Object.hasOwn(value, field.name)) continue;
      const fieldValue = value[field.name];
      const name = jsonName(field.name, shape);
      const child = shape.properties?.[name];
      field.resolve();
      const fieldType =
        field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
      if (field instanceof protobuf.MapField) {
        const entries = Object.entries(fieldValue as Record<string, unknown>);
        if (entries.length === 0) continue;
        const values = this.#resolve(child).additionalProperties;
        result[name] = Object.fromEntries(
          entries.map(([key, entry]) => [key, this.#value(fieldType, entry, values)]),
        );
      } else if (field.repeated) {
        const items = (fieldValue as unknown[]).map((item) =>
          this.#value(fieldType, item, this.#resolve(child).items),
        );
        if (items.length > 0) result[name] = items;
      } else if (fieldType !== undefined && child === undefined && !isScalarMessage(fieldType)) {
        // Embedded inline in Go: its fields stand among ours.
        Object.assign(
          result,
          this.#message(fieldType, fieldValue as Record<string, unknown>, shape),
        );
      } else {
        const json = this.#value(fieldType, fieldValue, child);
        const isWhole = fieldType !== undefined && isOneValue(fieldType);
        if (json !== undefined && (isWhole || !isOmitted(name, json))) result[name] = json;
      }
    }
    return result;
  }

  #value(type: Type | undefined, value: unknown, shape: JsonShape | undefined): unknown {
    if (type !== undefined) {
      const fields = value as Record<string, unknown>;
      if (isScalarMessage(type)) return scalarMessage(type.name, fields);
      if (isChoice(type)) return this.#choice(type, fields);
      return this.#message(type, fields, shape ?? {});
    }
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
    return typeof value === 'object' && value !== null ? integer(value) : value;
  }

  /** Messages that stand for a schema or for something simpler in its place. */
  #choice(type: Type, fields: Record<string, unknown>): unknown {
    const schemaOf = (one: unknown): unknown =>
      this.#message(this.#root.lookupType(schemaType), one as Record<string, unknown>, {
        $ref: 'apiextensions/v1.JSONSchemaProps',
      });
    if (Object.hasOwn(fields, 'schema')) return schemaOf(fields['schema']);
    if (type.name === 'JSONSchemaPropsOrBool') return fields['allows'] === true;
    if (type.name === 'JSONSchemaPropsOrStringArray') return fields['property'] ?? [];
    return ((fields['jSONSchemas'] ?? []) as unknown[]).map(schemaOf);
  }
}

const schemaType = 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps';

function isChoice({ name }: Type): boolean {
  return name.startsWith('JSONSchemaPropsOr');
}

/** A long, which JavaScript's numbers may not hold. */
function integer(value: { toString(): string }): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : BigInt(value.toString());
}

/** JSON says `webhooks`, `uid`, `$ref`, `x-kubernetes-list-type`; the wire `Webhooks`, `uID`, `ref`, … */
function jsonName(name: string, { properties = {} }: JsonShape): string {
  if (Object.hasOwn(properties, name)) return name;
  const wanted = name.toLowerCase();
  const found = Object.keys(properties).find(
    (one) => one.replaceAll(/[$-]/g, '').toLowerCase() === wanted,
  );
  return found ?? name;
}

const scalarMessages: ReadonlySet<string> = words(
  'Time MicroTime Quantity IntOrString RawExtension FieldsV1 JSON',
);

function words(text: string): ReadonlySet<string> {
  return new Set(text.trim().split(/\s+/));
}

/** A zero of these is one that somebody said: `maxUnavailable: 0`. */
function isOneValue(type: Type): boolean {
  return isScalarMessage(type) || isChoice(type);
}

function isScalarMessage(type: Type): boolean {
  return scalarMessages.has(type.name);
}

/** Messages that are one value in JSON. Undefined: the zero value, which JSON leaves out. */
function scalarMessage(name: string, fields: Record<string, unknown>): unknown {
  switch (name) {
    case 'Time':
    case 'MicroTime': {
      // A zero time is an empty message.
      if (!Object.hasOwn(fields, 'seconds')) return undefined;
      const ms = Number(fields['seconds']) * 1000 + Number(fields['nanos'] ?? 0) / 1e6;
      return name === 'Time' ? rfc3339(ms) : rfc3339Micro(ms);
    }
    case 'Quantity':
      return fields['string'] ?? '0';
    case 'IntOrString':
      return Number(fields['type'] ?? 0) === 1
        ? (fields['strVal'] ?? '')
        : Number(fields['intVal'] ?? 0);
    default: {
      const raw = (fields['raw'] ?? fields['Raw'] ?? new Uint8Array()) as Uint8Array;
      return raw.length === 0 ? undefined : exactJson(Buffer.from(raw).toString());
    }
  }
}

function isOmitted(name: string, value: unknown): boolean {
  if (isEmptyObject(value)) return name === 'status' || name === 'strategy' || name === 'resources';
  return (value === '' || value === 0 || value === false) && !pointerFields.has(name);
}

function isEmptyObject(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).length === 0
  );
}
