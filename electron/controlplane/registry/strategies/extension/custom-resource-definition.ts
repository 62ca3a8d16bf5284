// CustomResourceDefinitions: checked when written, established in the same write if their names are
// free, kept while they go until their objects are gone (controllers/custom-resource-definition.ts).
// Differs: Kubernetes accepts names and establishes a moment later, in controllers.
// Source: kubernetes apiextensions-apiserver pkg/registry/customresourcedefinition/{strategy,etcd}.go,
// pkg/apis/apiextensions/v1/defaults.go.
import type { CustomResourceDefinition, JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { deepCopy, deepEqual } from '#kube/machinery/equality.ts';
import { field, type FieldError } from '#kube/machinery/field.ts';
import {
  loadEngine,
  needsEngine,
  ruleEngine,
  type RuleEngine,
  valueContext,
} from '../../custom-resources/engine.ts';
import { decideNames, setCondition, takenNames } from '../../custom-resources/names.ts';
import type { AllocationContext, StatusSubresource, Strategy } from '../../resource.ts';
import {
  validateDefinition,
  validateDefinitionUpdate,
  validateStoredVersions,
} from './definition-rules.ts';
import { validateStructural } from './schema-rules.ts';

export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';

export const customResourceDefinitionStrategy: Strategy<CustomResourceDefinition> = {
  load: (definition) =>
    schemasOf(definition).some(([, one]) => needsEngine(one)) ? loadEngine() : undefined,
  applyDefaults({ spec }) {
    const { names } = spec;
    if ((names.singular ?? '') === '') names.singular = (names.kind ?? '').toLowerCase();
    if ((names.listKind ?? '') === '' && (names.kind ?? '') !== '')
      names.listKind = `${names.kind}List`;
    spec.conversion ??= { strategy: 'None' };
    const service = spec.conversion.webhook?.clientConfig?.service;
    if (service !== undefined) service.port ??= 443;
  },
  validate: (definition, old) => [
    ...validateDefinition(definition),
    ...validateSchemas(definition, old),
  ],
  validateUpdate: validateDefinitionUpdate,
  allocate: acceptNames,
  deletionFinalizers: [cleanupFinalizer],
  onDeletionStart: (definition) =>
    setCondition(definition, Date.parse(definition.metadata.deletionTimestamp ?? ''), {
      type: 'Terminating',
      status: 'True',
      reason: 'InstanceDeletionPending',
      message:
        'CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon',
    }),
};

export const customResourceDefinitionStatus: StatusSubresource<CustomResourceDefinition> = {
  type: 'status',
  validateUpdate: validateStoredVersions,
};

type VersionSchema = readonly [index: number, schema: JSONSchemaProps];

function schemasOf({ spec }: CustomResourceDefinition): VersionSchema[] {
  return (spec?.versions ?? []).flatMap(({ schema }, index): VersionSchema[] =>
    schema?.openAPIV3Schema === undefined ? [] : [[index, schema.openAPIV3Schema]],
  );
}

function validateSchemas(
  definition: CustomResourceDefinition,
  old: CustomResourceDefinition | undefined,
): FieldError[] {
  const before = old === undefined ? [] : schemasOf(old).map(([, schema]) => schema);
  const context = valueContext();
  const checker: RuleEngine['checker'] = (...given) => ruleEngine().checker(...given);
  return schemasOf(definition).flatMap(([index, schema]) =>
    validateStructural(
      schema,
      field('spec', 'versions').index(index).child('schema', 'openAPIV3Schema'),
      { context, checker, isKnown: before.some((one) => deepEqual(one, schema)) },
    ),
  );
}

/** Runs alone in the cluster, so two definitions can't get the same name. */
function acceptNames(
  next: CustomResourceDefinition,
  _old: CustomResourceDefinition | undefined,
  { existing, builtIn, nowMs }: AllocationContext<CustomResourceDefinition>,
): FieldError[] {
  const { group } = next.spec;
  const others = existing.filter(
    ({ spec, metadata }) => spec.group === group && metadata.name !== next.metadata.name,
  );
  const taken = takenNames([
    ...others.map(({ spec, status }) => status?.acceptedNames ?? spec.names),
    ...builtIn.filter((definition) => definition.group === group),
  ]);
  // It is the stored object's own.
  next.status = deepCopy(next.status ?? {});
  decideNames(next, taken, nowMs);
  return [];
}
