// A kind that tests define: ships.
import type { Json } from './api.ts';

export const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
export const ships = '/apis/sea.example.com/v1/namespaces/default/ships';

export const specSchema = {
  type: 'object',
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 10, pattern: '^[a-z]+$' },
    size: { type: 'integer', minimum: 1, maximum: 9, default: 3 },
    port: { 'x-kubernetes-int-or-string': true },
    replicas: { type: 'integer' },
    color: { type: 'string', enum: ['red', 'blue'] },
    tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
    free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    labels: { type: 'object', additionalProperties: { type: 'string' } },
    note: { type: 'string', nullable: true },
    template: {
      type: 'object',
      'x-kubernetes-embedded-resource': true,
      'x-kubernetes-preserve-unknown-fields': true,
    },
  },
};

export function version(name: string, more: Json = {}): Json {
  return {
    name,
    served: true,
    storage: name === 'v1',
    schema: {
      openAPIV3Schema: {
        type: 'object',
        properties: {
          spec: specSchema,
          status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        },
      },
    },
    subresources: {
      status: {},
      scale: {
        specReplicasPath: '.spec.replicas',
        statusReplicasPath: '.status.replicas',
        labelSelectorPath: '.status.selector',
      },
    },
    additionalPrinterColumns: [
      { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
      { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
    selectableFields: [{ jsonPath: '.spec.color' }],
    ...more,
  };
}

export function definition(more: Json = {}): Json {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'ships.sea.example.com' },
    spec: {
      group: 'sea.example.com',
      scope: 'Namespaced',
      names: { plural: 'ships', kind: 'Ship', shortNames: ['sh'], categories: ['all'] },
      versions: [version('v1')],
      ...more,
    },
  };
}

export function ship(name: string, spec: Json = {}): Json {
  return {
    apiVersion: 'sea.example.com/v1',
    kind: 'Ship',
    metadata: { name },
    spec: { name: 'argo', ...spec },
  };
}
