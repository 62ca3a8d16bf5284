import { readFileSync } from 'node:fs';
import protobuf, { type INamespace } from 'protobufjs/light.js';
import { describe, expect, it } from 'vitest';
import { ProtobufDecoder, type JsonShape } from './protobuf.ts';

const folder = new URL('../../../../resources/schema/', import.meta.url);
const load = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
const descriptors = load('protobuf.json') as INamespace;
const root = protobuf.Root.fromJSON(descriptors);
const shapes = new Map<string, JsonShape>();
for (const file of ['core.v1.json', 'apps.v1.json', 'meta.v1.json']) {
  const { package: name, types } = load(file) as {
    package: string;
    types: Record<string, JsonShape>;
  };
  for (const [type, shape] of Object.entries(types)) shapes.set(`${name}.${type}`, shape);
}
const decoder = new ProtobufDecoder({ descriptors, shapeOf: (name) => shapes.get(name) });

function encode(apiVersion: string, kind: string, type: string, fields: object): Uint8Array {
  const message = root.lookupType(type);
  const raw = message.encode(message.fromObject(fields)).finish();
  const unknown = root.lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
  const envelope = unknown
    .encode(unknown.fromObject({ typeMeta: { apiVersion, kind }, raw }))
    .finish();
  return new Uint8Array([0x6b, 0x38, 0x73, 0x00, ...envelope]);
}

describe('ProtobufDecoder', () => {
  it('gives the JSON form: embedded messages inline, quantities and ports as scalars, zeros left out', () => {
    const body = encode('apps/v1', 'Deployment', 'k8s.io.api.apps.v1.Deployment', {
      metadata: {
        name: 'web',
        namespace: '',
        generation: 0,
        creationTimestamp: {},
        labels: { app: 'web' },
      },
      spec: {
        replicas: 0,
        paused: false,
        minReadySeconds: 0,
        selector: { matchLabels: { app: 'web' } },
        strategy: {},
        template: {
          metadata: { labels: { app: 'web' }, creationTimestamp: {} },
          spec: {
            hostNetwork: false,
            securityContext: { runAsUser: 0, runAsNonRoot: false },
            containers: [
              {
                name: 'c',
                image: 'nginx',
                stdin: false,
                resources: { limits: { memory: { string: '64Mi' } } },
                readinessProbe: {
                  handler: { httpGet: { path: '/', port: { type: 1, intVal: 0, strVal: 'http' } } },
                  timeoutSeconds: 0,
                },
                env: [
                  {
                    name: 'A',
                    value: '',
                    valueFrom: {
                      secretKeyRef: {
                        localObjectReference: { name: 's' },
                        key: 'k',
                        optional: false,
                      },
                    },
                  },
                ],
              },
            ],
            volumes: [{ name: 'v', volumeSource: { emptyDir: { medium: '' } } }],
          },
        },
      },
      status: { observedGeneration: 0, replicas: 0 },
    });
    expect(decoder.decode(body)).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', labels: { app: 'web' } },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: {
            securityContext: { runAsUser: 0, runAsNonRoot: false },
            containers: [
              {
                name: 'c',
                image: 'nginx',
                resources: { limits: { memory: '64Mi' } },
                readinessProbe: { httpGet: { path: '/', port: 'http' } },
                env: [
                  {
                    name: 'A',
                    valueFrom: { secretKeyRef: { name: 's', key: 'k', optional: false } },
                  },
                ],
              },
            ],
            volumes: [{ name: 'v', emptyDir: {} }],
          },
        },
      },
      status: { replicas: 0 },
    });
  });

  it('gives bytes as base64 and times as RFC 3339', () => {
    const body = encode('v1', 'Secret', 'k8s.io.api.core.v1.Secret', {
      metadata: { name: 's', creationTimestamp: { seconds: 1_700_000_000, nanos: 0 } },
      data: { key: Buffer.from('hello') },
      type: 'Opaque',
    });
    expect(decoder.decode(body)).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's', creationTimestamp: '2023-11-14T22:13:20Z' },
      data: { key: 'aGVsbG8=' },
      type: 'Opaque',
    });
  });

  it('knows the delete options of any group', () => {
    const type = 'k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions';
    const body = encode('apps/v1', 'DeleteOptions', type, {
      gracePeriodSeconds: 0,
      propagationPolicy: 'Foreground',
    });
    expect(decoder.decode(body)).toMatchObject({
      gracePeriodSeconds: 0,
      propagationPolicy: 'Foreground',
    });
  });

  const broken = [
    { name: 'JSON', body: new TextEncoder().encode('{}'), says: 'not Kubernetes protobuf' },
    {
      name: 'a cut-off body',
      body: encode('v1', 'Pod', 'k8s.io.api.core.v1.Pod', {
        metadata: { name: 'long-enough' },
      }).slice(0, -4),
      says: 'broken protobuf',
    },
    {
      name: 'an unknown kind',
      body: encode('v1', 'Gizmo', 'k8s.io.api.core.v1.Pod', {}),
      says: 'no kind "Gizmo" is registered for version "v1"',
    },
  ];
  for (const { name, body, says } of broken)
    it(`answers 400 to ${name}`, () => {
      expect(() => decoder.decode(body)).toThrow(says);
    });
});
