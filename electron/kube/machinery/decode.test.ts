import { describe, expect, it } from 'vitest';
import apps from '../../../resources/schema/apps.v1.json' with { type: 'json' };
import coordination from '../../../resources/schema/coordination.v1.json' with { type: 'json' };
import core from '../../../resources/schema/core.v1.json' with { type: 'json' };
import meta from '../../../resources/schema/meta.v1.json' with { type: 'json' };
import { decodeObject, findUnknownFields, strictDecodeError, unrecognizedError } from './decode.ts';
import { SchemaRegistry } from './schema.ts';

const registry = new SchemaRegistry([apps, coordination, core, meta]);
const cannot = 'json: cannot unmarshal';

describe('decodeObject', () => {
  const wrong: [name: string, value: unknown, message: string][] = [
    [
      'Deployment',
      { spec: { replicas: 'three' } },
      `${cannot} string into Go struct field DeploymentSpec.spec.replicas of type int32`,
    ],
    [
      'Deployment',
      { spec: { replicas: 1.5 } },
      `${cannot} number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32`,
    ],
    [
      'Deployment',
      { spec: { replicas: 3e9 } },
      `${cannot} number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32`,
    ],
    [
      'Deployment',
      { spec: [] },
      `${cannot} array into Go struct field Deployment.spec of type v1.DeploymentSpec`,
    ],
    [
      'Deployment',
      { metadata: { labels: { a: 1 } } },
      `${cannot} number into Go struct field ObjectMeta.metadata.labels of type string`,
    ],
    [
      'Deployment',
      { metadata: { labels: [] } },
      `${cannot} array into Go struct field ObjectMeta.metadata.labels of type map[string]string`,
    ],
    [
      'Pod',
      { spec: { containers: {} } },
      `${cannot} object into Go struct field PodSpec.spec.containers of type []v1.Container`,
    ],
    [
      'Pod',
      { spec: { containers: [{ env: [{ value: 1 }] }] } },
      `${cannot} number into Go struct field EnvVar.spec.containers.env.value of type string`,
    ],
    [
      'Pod',
      { spec: { containers: [{ stdin: 'yes' }] } },
      `${cannot} string into Go struct field Container.spec.containers.stdin of type bool`,
    ],
    [
      'Pod',
      { spec: { containers: [{ resources: { limits: { cpu: 'much' } } }] } },
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ],
    [
      'Pod',
      { spec: { containers: [{ resources: { limits: [] } }] } },
      `${cannot} array into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList`,
    ],
    [
      'Service',
      { spec: { ports: [{ targetPort: true }] } },
      `${cannot} bool into Go value of type int32`,
    ],
    ['Secret', { data: { a: 'no base64!' } }, 'illegal base64 data at input byte 2'],
    ['Secret', { data: { a: 'YWI' } }, 'illegal base64 data at input byte 0'],
    [
      'Pod',
      { metadata: { creationTimestamp: 'soon' } },
      'parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006"',
    ],
    [
      'Pod',
      { metadata: { creationTimestamp: '2024-13-01T00:00:00Z' } },
      'parsing time "2024-13-01T00:00:00Z": month out of range',
    ],
    [
      'Pod',
      { metadata: { creationTimestamp: 5 } },
      `${cannot} number into Go value of type string`,
    ],
  ];
  it.each(wrong)('refuses a %s %j in the words of Go', (kind, value, message) => {
    const name = `${kind === 'Deployment' ? 'apps' : 'core'}/v1.${kind}`;
    const full = `${kind} in version "v1" cannot be handled as a ${kind}: ${message}`;
    expect(() => decodeObject(registry, name, value)).toThrow(
      expect.objectContaining({ message: full, code: 400, reason: 'BadRequest' }),
    );
  });

  it('reports the first wrong type in the order of the text', () => {
    const value = { spec: { paused: 1, replicas: 'x' } };
    expect(() => decodeObject(registry, 'apps/v1.Deployment', value)).toThrow(
      'spec.paused of type bool',
    );
  });

  it('drops unknown fields and reports them with their paths', () => {
    const value = {
      kind: 'Deployment',
      foo: 1,
      spec: {
        bar: {},
        template: { spec: { containers: [{ name: 'a' }, { name: 'b', prots: [] }] } },
      },
    };
    const { object, unknownFields } = decodeObject(registry, 'apps/v1.Deployment', value);
    expect(unknownFields).toEqual([
      'unknown field "foo"',
      'unknown field "spec.bar"',
      'unknown field "spec.template.spec.containers[1].prots"',
    ]);
    expect(object).toEqual({
      kind: 'Deployment',
      spec: { template: { spec: { containers: [{ name: 'a' }, { name: 'b' }] } } },
    });
    expect(strictDecodeError('apps/v1.Deployment', unknownFields.slice(0, 2)).message).toBe(
      'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "foo", unknown field "spec.bar"',
    );
  });

  it('does not take names of Object.prototype for known fields', () => {
    const value = JSON.parse('{"constructor":1,"__proto__":{"a":1}}') as unknown;
    expect(findUnknownFields(registry, 'core/v1.Pod', value)).toEqual([
      'unknown field "constructor"',
      'unknown field "__proto__"',
    ]);
  });

  it('takes null for absent, and for the zero value where a value has to stand', () => {
    const value = {
      metadata: { creationTimestamp: null, labels: { a: null } },
      spec: { containers: [null], nodeName: null },
    };
    expect(decodeObject(registry, 'core/v1.Pod', value).object).toEqual({
      metadata: { labels: { a: '' } },
      spec: { containers: [{}] },
    });
  });

  it('writes quantities and times in canonical form', () => {
    const pod = {
      metadata: { creationTimestamp: '2024-05-01T02:00:00.9+02:00' },
      spec: { containers: [{ resources: { limits: { cpu: 1, memory: '1024Mi' } } }] },
    };
    expect(decodeObject(registry, 'core/v1.Pod', pod).object).toEqual({
      metadata: { creationTimestamp: '2024-05-01T00:00:00Z' },
      spec: { containers: [{ resources: { limits: { cpu: '1', memory: '1Gi' } } }] },
    });
    const lease = { spec: { renewTime: '2024-05-01T00:00:00.25Z' } };
    expect(decodeObject(registry, 'coordination/v1.Lease', lease).object).toEqual({
      spec: { renewTime: '2024-05-01T00:00:00.250000Z' },
    });
  });

  it('keeps every key of a map, also __proto__', () => {
    const value = JSON.parse('{"data":{"__proto__":"x"}}') as unknown;
    const { object } = decodeObject(registry, 'core/v1.ConfigMap', value);
    expect(JSON.stringify(object)).toBe('{"data":{"__proto__":"x"}}');
  });

  it('does not change what it was given', () => {
    const value = { spec: { replicas: 1, foo: 1 } };
    decodeObject(registry, 'apps/v1.Deployment', value);
    expect(value).toEqual({ spec: { replicas: 1, foo: 1 } });
  });
});

describe('unrecognizedError', () => {
  it('shows the beginning of the body', () => {
    const detail = "invalid character 'b' looking for beginning of object key string";
    expect(unrecognizedError('Pod', detail, '{bad').message).toBe(
      `the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ${detail} ({bad)`,
    );
    expect(unrecognizedError('Pod', 'x', 'ab').message).toContain('(6162)');
    expect(unrecognizedError('Pod', 'x', `{${'a'.repeat(40)}`).message).toContain(
      `({${'a'.repeat(29)} ...)`,
    );
  });
});
