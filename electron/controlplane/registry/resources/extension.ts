// What extends the API: definitions of custom resources, and other servers behind this one.
import type { APIService } from '#kube/api/apiregistration.ts';
import type { CustomResourceDefinition } from '#kube/api/apiextensions.ts';
import { createdAtColumn, nameColumn } from '../columns/cells.ts';
import { apiServiceColumns } from '../columns/extension.ts';
import type { ResourceDefinition } from '../resource.ts';
import { apiServiceStatus, apiServiceStrategy } from '../strategies/extension/api-service.ts';
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

const apiServices: ResourceDefinition<APIService> = {
  ...named('apiregistration.k8s.io', 'apiregistration/v1', 'APIService', 'apiservices'),
  namespaced: false,
  categories: ['api-extensions'],
  strategy: apiServiceStrategy,
  columns: apiServiceColumns,
  subresources: { status: apiServiceStatus },
  awaitsCache: true,
};

export const extensionResources: readonly ResourceDefinition[] = [
  generic(customResourceDefinitions),
  generic(apiServices),
];
