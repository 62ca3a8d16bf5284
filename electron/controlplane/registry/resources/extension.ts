// What extends the API: definitions of custom resources.
import type { CustomResourceDefinition } from '#kube/api/apiextensions.ts';
import { createdAtColumn, nameColumn } from '../columns/cells.ts';
import type { ResourceDefinition } from '../resource.ts';
import {
  customResourceDefinitionStatus,
  customResourceDefinitionStrategy,
} from '../strategies/extension/custom-resource-definition.ts';
import { generic, named } from './define.ts';

const customResourceDefinitions: ResourceDefinition<CustomResourceDefinition> = {
  ...named(
    'apiextensions.k8s.io',
    'apiextensions/v1',
    'CustomResourceDefinition',
    'customresourcedefinitions',
  ),
  namespaced: false,
  shortNames: ['crd', 'crds'],
  categories: ['api-extensions'],
  strategy: customResourceDefinitionStrategy,
  columns: [nameColumn, createdAtColumn],
  subresources: { status: customResourceDefinitionStatus },
  awaitsCache: true,
};

export const extensionResources: readonly ResourceDefinition[] = [
  generic(customResourceDefinitions),
];
