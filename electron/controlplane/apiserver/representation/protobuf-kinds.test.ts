// Every kind's sample on the wire and back. The encoder is the test's own: it goes from JSON to the wire's
// names and forms by the descriptors alone, as Go's generated code does.
import protobuf, { type Type } from 'protobufjs/light.js';
import { describe, expect, it } from 'vitest';
import { schemas, type Json } from '../../../../test/setup/api.ts';
import { samples } from '../../../../test/setup/samples.ts';
import { groupVersions } from '../../../../resources/schema/group-versions.ts';
import { protobufDescriptors } from '../../schemas.ts';
import { ProtobufDecoder } from './protobuf.ts';

const root = protobuf.Root.fromJSON(protobufDescriptors);
const decoder = new ProtobufDecoder({
  descriptors: protobufDescriptors,
  shapeOf: (name) => (schemas.has(name) ? schemas.get(name) : undefined),
});

function packageOf(apiVersion: string): string {
  const [version, group = ''] = apiVersion.split('/').toReversed();
  const found = groupVersions.find((one) => one.group === group && one.version === version);
  if (found === undefined) throw new Error(`no package of ${apiVersion}`);
  return found.protoPackage;
}

function encode({ apiVersion, kind, ...fields }: Json): Uint8Array {
  const type = root.lookupType(`${packageOf(apiVersion)}.${kind}`);
  const raw = type.encode(type.fromObject(onTheWire(type, fields))).finish();
  const unknown = root.lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
  const envelope = { typeMeta: { apiVersion, kind }, raw };
  return new Uint8Array([
    0x6b,
    0x38,
    0x73,
    0x00,
    ...unknown.encode(unknown.fromObject(envelope)).finish(),
  ]);
}

const plain = (name: string): string => name.replaceAll(/[$-]/g, '').toLowerCase();
const raw = (value: Json): Json => ({ raw: Buffer.from(JSON.stringify(value)) });

/** What a message is in JSON when that is no object of its fields. */
const forms: Readonly<Record<string, (value: Json, type: Type) => Json>> = {
  Quantity: (string) => ({ string }),
  IntOrString: (value) =>
    typeof value === 'number' ? { type: 0, intVal: value } : { type: 1, strVal: value },
  Time: (text) => ({ seconds: Date.parse(text) / 1000 }),
  MicroTime: (text) => ({ seconds: Date.parse(text) / 1000 }),
  RawExtension: raw,
  JSON: raw,
  FieldsV1: (value) => ({ Raw: Buffer.from(JSON.stringify(value)) }),
  JSONSchemaPropsOrBool: (value, type) =>
    typeof value === 'boolean' ? { allows: value } : { allows: true, schema: below(type, value) },
  JSONSchemaPropsOrArray: (value, type) => ({ schema: below(type, value) }),
};

function below(type: Type, value: Json): Json {
  return onTheWire(type.fields['schema']?.resolve().resolvedType as Type, value);
}

function onTheWire(type: Type, value: Json): Json {
  const form = forms[type.name];
  if (form !== undefined) return form(value, type);
  const message: Json = {};
  const names = new Map(Object.keys(value).map((name) => [plain(name), name]));
  for (const field of type.fieldsArray.map((one) => one.resolve())) {
    const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
    const wire = (one: Json): Json => (inner === undefined ? one : onTheWire(inner, one));
    const name = names.get(plain(field.name));
    // Embedded in Go: its fields stand beside this one in JSON.
    if (
      name === undefined &&
      inner !== undefined &&
      !field.repeated &&
      forms[inner.name] === undefined
    ) {
      const known = new Set(type.fieldsArray.map((one) => plain(one.name)));
      const rest = Object.entries(value).filter(([key]) => !known.has(plain(key)));
      const embedded = embeds(type, field.name) ? onTheWire(inner, Object.fromEntries(rest)) : {};
      if (Object.keys(embedded).length > 0) message[field.name] = embedded;
    } else if (name !== undefined && field instanceof protobuf.MapField)
      message[field.name] = Object.fromEntries(
        Object.entries(value[name]).map(([key, one]) => [key, wire(one)]),
      );
    else if (name !== undefined)
      message[field.name] = field.repeated ? value[name].map(wire) : wire(value[name]);
  }
  return message;
}

/** `Volume.volumeSource` and its like are embedded, `Pod.spec` is only left out. */
function embeds({ name: type }: Type, field: string): boolean {
  const embedded: Readonly<Record<string, string>> = {
    Volume: 'volumeSource',
    PersistentVolumeSpec: 'persistentVolumeSource',
    Probe: 'handler',
    IngressRule: 'ingressRuleValue',
    RuleWithOperations: 'rule',
    NamedRuleWithOperations: 'ruleWithOperations',
  };
  return embedded[type] === field;
}

describe('on the wire and back', () => {
  const kinds = samples
    // Our own have no protobuf.
    .filter(({ apiVersion }) => !apiVersion.startsWith('flotilla.dev/'))
    .map((sample) => ({ sample, name: `${sample.apiVersion} ${sample.kind}` }));
  it.each(kinds)('$name says the same', ({ sample }) => {
    expect(decoder.decode(encode(sample))).toEqual(sample);
  });

  it('a definition keeps what its schema says', () => {
    const openAPIV3Schema = {
      type: 'object',
      'x-kubernetes-validations': [{ rule: 'true', message: 'never' }],
      properties: {
        any: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        none: { type: 'object', 'x-kubernetes-preserve-unknown-fields': false },
        map: { type: 'object', additionalProperties: { type: 'integer', minimum: 0, default: 0 } },
        open: { type: 'object', additionalProperties: true },
        shut: { type: 'object', additionalProperties: false },
        list: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: { type: 'object', properties: { name: { type: 'string', enum: ['a', 1] } } },
        },
      },
    };
    const names = { plural: 'ships', kind: 'Ship' };
    const version = { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema } };
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'ships.example.com' },
      spec: { group: 'example.com', scope: 'Namespaced', names, versions: [version] },
    };
    expect(decoder.decode(encode(definition))).toEqual(definition);
  });
});
