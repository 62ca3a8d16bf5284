import { describe, expect, it } from 'vitest';
import apps from '../../../resources/schema/apps.v1.json' with { type: 'json' };
import core from '../../../resources/schema/core.v1.json' with { type: 'json' };
import meta from '../../../resources/schema/meta.v1.json' with { type: 'json' };
import { field, fieldErrorText } from './field.ts';
import { applySchemaDefaults, findMissingFields, SchemaRegistry } from './schema.ts';

const registry = new SchemaRegistry([apps, core, meta]);

describe('SchemaRegistry', () => {
  it('resolves references across documents', () => {
    const spec = registry.get('apps/v1.DeploymentSpec').properties?.['template'];
    expect(registry.resolve(spec ?? {}).properties).toHaveProperty('spec');
  });

  it('refuses documents with references that lead nowhere', () => {
    const broken = { package: 'a/v1', types: { T: { properties: { x: { $ref: 'a/v1.Gone' } } } } };
    expect(() => new SchemaRegistry([broken])).toThrow('no schema named a/v1.Gone');
  });
});

describe('applySchemaDefaults', () => {
  it('fills in defaults where the surrounding object exists, and only there', () => {
    const service = { spec: { ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }] } };
    applySchemaDefaults(registry, 'core/v1.Service', service);
    expect(service.spec.ports).toEqual([
      { port: 80, protocol: 'TCP' },
      { port: 53, protocol: 'UDP' },
    ]);
    const empty = {};
    applySchemaDefaults(registry, 'core/v1.ServiceSpec', empty);
    expect(empty).toEqual({});
  });

  it('makes the structs that Go holds by value, and fills those in as well', () => {
    const deployment = {};
    applySchemaDefaults(registry, 'apps/v1.Deployment', deployment);
    expect(deployment).toEqual({ spec: { strategy: {}, template: { spec: {} } } });
  });

  it('reaches the containers of a template and changes nothing the second time', () => {
    const containers = [{ name: 'a', ports: [{ containerPort: 80 }] }];
    const deployment = { spec: { template: { spec: { containers } } } };
    applySchemaDefaults(registry, 'apps/v1.Deployment', deployment);
    const once = structuredClone(deployment);
    applySchemaDefaults(registry, 'apps/v1.Deployment', deployment);
    expect(deployment).toEqual(once);
    expect(containers[0]?.ports[0]).toEqual({ containerPort: 80, protocol: 'TCP' });
  });
});

describe('findMissingFields', () => {
  it('names every required field that is missing, with its path', () => {
    const object = { spec: { template: { spec: { containers: [{ image: 'x' }] } } } };
    const errors = findMissingFields(registry, 'apps/v1.Deployment', { object, path: field() });
    expect(errors.map(fieldErrorText)).toEqual([
      'spec.selector: Required value',
      'spec.template.spec.containers[0].name: Required value',
    ]);
  });
});
