// What a CustomResourceDefinition has to be, schemas apart (schema-rules.ts).
// Source: kubernetes apiextensions-apiserver pkg/apis/apiextensions/validation/validation.go.
import type {
  CustomResourceColumnDefinition,
  CustomResourceDefinition,
  CustomResourceDefinitionNames,
  CustomResourceDefinitionSpec,
  CustomResourceDefinitionVersion,
  JSONSchemaProps,
} from '#kube/api/apiextensions.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  tooMany,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { parseJsonPath } from '#kube/machinery/json-path.ts';
import { isDns1035Label, isDns1123Subdomain } from '#kube/machinery/names.ts';
import { schemaAtPath } from '../../custom-resources/paths.ts';
import { asGiven, check, immutableMessage } from '../text-rules.ts';
import { validateClient, validateReviewVersions } from '../webhook-rules.ts';
import { isEstablished } from '../../custom-resources/names.ts';

const scopes = ['Cluster', 'Namespaced'];
const columnTypes = ['integer', 'number', 'string', 'boolean', 'date'];
const columnFormats = [
  'int32',
  'int64',
  'float',
  'double',
  'byte',
  'date',
  'date-time',
  'password',
];
const maxSelectableFields = 8;
const approval = 'api-approved.kubernetes.io';

/** All but the schemas. */
export function validateDefinition(definition: CustomResourceDefinition): FieldError[] {
  const { spec, metadata } = definition;
  const { group = '', scope = '', versions = [] } = asGiven(spec);
  const path = field('spec');
  const errors: FieldError[] = [];
  if (metadata.name !== `${spec.names.plural}.${group}`)
    errors.push(
      invalid(
        field('metadata', 'name'),
        metadata.name ?? '',
        'must be spec.names.plural+"."+spec.group',
      ),
    );
  errors.push(...validateGroup(group, metadata.annotations, path.child('group')));
  if (scope === '') errors.push(required(path.child('scope'), ''));
  else if (!scopes.includes(scope)) errors.push(notSupported(path.child('scope'), scope, scopes));
  errors.push(...validateNames(spec.names, path.child('names')));
  errors.push(...validateVersions(versions, path.child('versions')));
  errors.push(...validateConversion(spec, path.child('conversion')));
  if (spec.preserveUnknownFields === true)
    errors.push(
      invalid(
        path.child('preserveUnknownFields'),
        true,
        'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
      ),
    );
  return errors;
}

function validateGroup(
  group: string,
  annotations: Readonly<Record<string, string>> | undefined,
  path: FieldPath,
): FieldError[] {
  if (group === '') return [required(path, '')];
  const messages = isDns1123Subdomain(group);
  if (messages.length > 0) return [invalid(path, group, messages.join(','))];
  if (!group.includes('.'))
    return [invalid(path, group, 'should be a domain with at least one dot')];
  const isProtected = ['k8s.io', 'kubernetes.io'].some(
    (domain) => group === domain || group.endsWith(`.${domain}`),
  );
  if (!isProtected || (annotations?.[approval] ?? '') !== '') return [];
  return [
    required(
      field('metadata', 'annotations').key(approval),
      `protected groups must have approval annotation "${approval}", see https://github.com/kubernetes/enhancements/pull/1111`,
    ),
  ];
}

function validateNames(names: CustomResourceDefinitionNames, path: FieldPath): FieldError[] {
  const { plural = '', singular = '', kind = '', listKind = '' } = asGiven(names);
  const errors: FieldError[] = [];
  if (plural === '') errors.push(required(path.child('plural'), ''));
  else errors.push(...check(path.child('plural'), plural, isDns1035Label(plural)));
  if (singular !== '')
    errors.push(...check(path.child('singular'), singular, isDns1035Label(singular)));
  if (kind === '') errors.push(required(path.child('kind'), ''));
  else errors.push(...mixedCase(path.child('kind'), kind));
  if (listKind !== '') errors.push(...mixedCase(path.child('listKind'), listKind));
  if (kind !== '' && kind === listKind)
    errors.push(invalid(path.child('listKind'), listKind, 'kind and listKind may not be the same'));
  for (const list of ['shortNames', 'categories'] as const)
    for (const [index, name] of (names[list] ?? []).entries())
      errors.push(...check(path.child(list).index(index), name, isDns1035Label(name)));
  return errors;
}

function mixedCase(path: FieldPath, name: string): FieldError[] {
  const messages = isDns1035Label(name.toLowerCase());
  return messages.length === 0
    ? []
    : [
        invalid(
          path,
          name,
          `may have mixed case, but should otherwise match: ${messages.join(',')}`,
        ),
      ];
}

function validateVersions(
  versions: readonly CustomResourceDefinitionVersion[],
  path: FieldPath,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, version] of versions.entries())
    errors.push(...validateVersion(version, path.index(index)));
  const names = versions.map(({ name }) => name);
  if (new Set(names).size < names.length)
    errors.push(invalid(path, names, 'must contain unique version names'));
  if (versions.filter(({ storage }) => storage).length !== 1)
    errors.push(invalid(path, names, 'must have exactly one version marked as storage version'));
  return errors;
}

function validateVersion(version: CustomResourceDefinitionVersion, path: FieldPath): FieldError[] {
  const { name = '', deprecated, deprecationWarning, subresources, schema } = asGiven(version);
  const errors = check(path.child('name'), name, isDns1035Label(name));
  if (schema?.openAPIV3Schema === undefined)
    errors.push(required(path.child('schema', 'openAPIV3Schema'), 'schemas are required'));
  if (deprecationWarning !== undefined) {
    const at = path.child('deprecationWarning');
    if (deprecated !== true)
      errors.push(invalid(at, deprecationWarning, 'can only be set for deprecated versions'));
    if (deprecationWarning.length > 256)
      errors.push(invalid(at, deprecationWarning, 'must be <= 256 characters long'));
    if (deprecationWarning === '')
      errors.push(invalid(at, deprecationWarning, 'must not be an empty string'));
  }
  for (const [index, column] of (version.additionalPrinterColumns ?? []).entries())
    errors.push(...validateColumn(column, path.child('additionalPrinterColumns').index(index)));
  if (subresources?.scale !== undefined)
    errors.push(...validateScale(subresources.scale, path.child('subresources', 'scale')));
  errors.push(...validateSelectable(version, path.child('selectableFields')));
  return errors;
}

function validateColumn(column: CustomResourceColumnDefinition, path: FieldPath): FieldError[] {
  const { name = '', type = '', format = '', jsonPath = '' } = asGiven(column);
  const errors: FieldError[] = [];
  if (name === '') errors.push(required(path.child('name'), ''));
  const types = columnTypes.join(',');
  if (type === '') errors.push(required(path.child('type'), `must be one of ${types}`));
  else if (!columnTypes.includes(type))
    errors.push(invalid(path.child('type'), type, `must be one of ${types}`));
  if (format !== '' && !columnFormats.includes(format))
    errors.push(invalid(path.child('format'), format, `must be one of ${columnFormats.join(',')}`));
  if (jsonPath === '') errors.push(required(path.child('jsonPath'), ''));
  else errors.push(...validatePath(jsonPath, path.child('jsonPath')));
  return errors;
}

function validatePath(text: string, path: FieldPath): FieldError[] {
  try {
    parseJsonPath(text);
    return text.startsWith('.') || text.startsWith('[')
      ? []
      : [invalid(path, text, 'must be a simple json path starting with .')];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [invalid(path, text, `is an invalid path: ${why}`)];
  }
}

/** Only names, such as `.spec.replicas`. */
function isSimplePath(text: string): boolean {
  return /^(?:\.[A-Za-z_][\w-]*)+$/.test(text);
}

function validateScale(
  scale: NonNullable<NonNullable<CustomResourceDefinitionVersion['subresources']>['scale']>,
  path: FieldPath,
): FieldError[] {
  const { specReplicasPath = '', statusReplicasPath = '', labelSelectorPath = '' } = asGiven(scale);
  const errors: FieldError[] = [];
  const one = (name: string, text: string, roots: readonly string[], where: string): void => {
    const at = path.child(name);
    if (text === '') errors.push(required(at, ''));
    else if (!isSimplePath(text))
      errors.push(invalid(at, text, 'array notation and filters are not supported'));
    else if (!roots.some((root) => text.startsWith(`${root}.`)))
      errors.push(invalid(at, text, `should be a json path under ${where}`));
  };
  one('specReplicasPath', specReplicasPath, ['.spec'], '.spec');
  one('statusReplicasPath', statusReplicasPath, ['.status'], '.status');
  if (labelSelectorPath !== '')
    one('labelSelectorPath', labelSelectorPath, ['.spec', '.status'], 'either .spec or .status');
  return errors;
}

function validateSelectable(
  { selectableFields = [], schema }: CustomResourceDefinitionVersion,
  path: FieldPath,
): FieldError[] {
  const errors: FieldError[] = [];
  if (selectableFields.length > maxSelectableFields)
    errors.push(tooMany(path, selectableFields.length, maxSelectableFields));
  const seen = new Set<string>();
  for (const [index, { jsonPath = '' }] of selectableFields.entries()) {
    const at = path.index(index).child('jsonPath');
    if (seen.has(jsonPath)) errors.push(invalid(at, jsonPath, 'duplicate value'));
    seen.add(jsonPath);
    errors.push(...validateSelectablePath(schema?.openAPIV3Schema, jsonPath, at));
  }
  return errors;
}

function validateSelectablePath(
  schema: JSONSchemaProps | undefined,
  text: string,
  path: FieldPath,
): FieldError[] {
  if (text === '') return [required(path, '')];
  if (!isSimplePath(text))
    return [invalid(path, text, 'is an invalid path: must be a simple path')];
  if (text === '.metadata' || text.startsWith('.metadata.'))
    return [invalid(path, text, 'must not point to fields in metadata')];
  const target = schema === undefined ? undefined : schemaAtPath(schema, text);
  if (target === undefined)
    return [invalid(path, text, 'is an invalid path: does not refer to a valid field')];
  return ['string', 'boolean', 'integer'].includes(target.type ?? '')
    ? []
    : [
        invalid(
          path,
          text,
          'must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.',
        ),
      ];
}

function validateConversion(
  { conversion }: CustomResourceDefinitionSpec,
  path: FieldPath,
): FieldError[] {
  if (conversion === undefined) return [];
  const { strategy = '', webhook } = asGiven(conversion);
  const at = path.child('strategy');
  if (strategy === '') return [required(at, '')];
  if (strategy !== 'None' && strategy !== 'Webhook')
    return [notSupported(at, strategy, ['None', 'Webhook'])];
  if (strategy === 'None')
    return webhook === undefined
      ? []
      : [forbidden(path.child('webhook'), 'should not be set when strategy is not set to Webhook')];
  if (webhook?.clientConfig === undefined)
    return [
      required(path.child('webhookClientConfig'), 'required when strategy is set to Webhook'),
    ];
  return [
    ...validateClient(webhook.clientConfig, path.child('webhookClientConfig')),
    ...validateReviewVersions(
      webhook.conversionReviewVersions ?? [],
      path.child('conversionReviewVersions'),
    ),
  ];
}

/** What may not change, and which versions have to stay because objects may be stored in them. */
export function validateDefinitionUpdate(
  next: CustomResourceDefinition,
  old: CustomResourceDefinition,
): FieldError[] {
  const path = field('spec');
  const errors: FieldError[] = [];
  const fixed = (at: FieldPath, value: unknown, before: unknown): void => {
    if (value !== before) errors.push(invalid(at, value, immutableMessage));
  };
  fixed(path.child('group'), next.spec.group, old.spec.group);
  fixed(path.child('names', 'plural'), next.spec.names.plural, old.spec.names.plural);
  if (isEstablished(old)) {
    fixed(path.child('scope'), next.spec.scope, old.spec.scope);
    fixed(path.child('names', 'kind'), next.spec.names.kind, old.spec.names.kind);
  }
  return [...errors, ...validateStoredVersions(next)];
}

export function validateStoredVersions({ spec, status }: CustomResourceDefinition): FieldError[] {
  const names = (spec.versions ?? []).map(({ name }) => name);
  const path = field('status', 'storedVersions');
  const stored = status?.storedVersions ?? [];
  return stored.flatMap((name, index) =>
    names.includes(name)
      ? []
      : [
          invalid(
            path.index(index),
            name,
            `missing from spec.versions; ${name} was previously a storage version, and must remain in ` +
              `spec.versions until a storage migration ensures no data remains persisted in ${name} and ` +
              `removes ${name} from status.storedVersions`,
          ),
        ],
  );
}
