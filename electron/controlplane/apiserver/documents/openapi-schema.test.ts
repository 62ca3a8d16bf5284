import { describe, expect, it } from 'vitest';
import type { Schema } from '#kube/machinery/schema.ts';
import apiextensions from '../../../../resources/schema/apiextensions.v1.json' with { type: 'json' };
import { publishedName, toOpenApi } from './openapi-schema.ts';

describe('a schema as OpenAPI', () => {
  it('says no type of what may be anything: kubectl checks by it', () => {
    const schema = apiextensions.types.JSONSchemaProps as Schema;
    const { properties } = toOpenApi(schema, 'v2') as {
      properties: Record<string, { type?: string; items?: { type?: string } }>;
    };
    const { default: byDefault, enum: one, title } = properties;
    expect([byDefault?.type, one?.items?.type, title?.type]).toEqual([
      undefined,
      undefined,
      'string',
    ]);
  });

  it('has the name that Kubernetes gives it', () => {
    const names = ['core/v1.Pod', 'meta/v1.ObjectMeta', 'apiextensions/v1.JSONSchemaProps'];
    expect(names.map(publishedName)).toEqual([
      'io.k8s.api.core.v1.Pod',
      'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta',
      'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps',
    ]);
  });
});
