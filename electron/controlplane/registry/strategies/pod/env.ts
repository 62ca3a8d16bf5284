// Environment variables of a container and where their values come from.
// Source: kubernetes pkg/apis/core/validation/validation.go ValidateEnv, ValidateEnvFrom.
import type {
  EnvFromSource,
  EnvVar,
  FileKeySelector,
  ObjectFieldSelector,
  ResourceFieldSelector,
} from '#kube/api/core.ts';
import {
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Label, isDns1123Subdomain, isQualifiedName } from '#kube/machinery/names.ts';
import { asGiven, check, isConfigKey, isEnvVarName } from '../text-rules.ts';
import { localPathMessages } from './volumes.ts';

export function validateEnv(variables: readonly EnvVar[], path: FieldPath): FieldError[] {
  return variables.flatMap((variable, index) => {
    const at = path.index(index);
    const { name = '' } = asGiven(variable);
    const errors =
      name === ''
        ? [required(at.child('name'), '')]
        : check(at.child('name'), name, isEnvVarName(name));
    return [...errors, ...validateValueFrom(variable, at.child('valueFrom'))];
  });
}

const envFields = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];

function validateValueFrom({ value = '', valueFrom }: EnvVar, path: FieldPath): FieldError[] {
  if (valueFrom === undefined) return [];
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef } = valueFrom;
  const errors: FieldError[] = [];
  if (fieldRef !== undefined)
    errors.push(...validateFieldRef(fieldRef, envFields, path.child('fieldRef')));
  if (resourceFieldRef !== undefined)
    errors.push(...validateResourceFieldRef(resourceFieldRef, path.child('resourceFieldRef')));
  for (const [name, selector] of Object.entries({ configMapKeyRef, secretKeyRef }))
    if (selector !== undefined) errors.push(...validateKeyRef(selector, path.child(name)));
  if (fileKeyRef !== undefined)
    errors.push(...validateFileKeyRef(fileKeyRef, path.child('fileKeyRef')));
  const sources = [fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef];
  const count = sources.filter((source) => source !== undefined).length;
  if (count === 0)
    errors.push(
      invalid(
        path,
        '',
        'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`',
      ),
    );
  else if (value !== '')
    errors.push(invalid(path, '', 'may not be specified when `value` is not empty'));
  else if (count > 1)
    errors.push(invalid(path, '', 'may not have more than one field specified at a time'));
  return errors;
}

/** Fields a pod has, whether or not they may be used at a given place. */
const knownFields = new Set([...envFields, 'metadata.labels', 'metadata.annotations']);

/** `supported`: the fields without subscript that are allowed here. */
export function validateFieldRef(
  selector: ObjectFieldSelector,
  supported: readonly string[],
  path: FieldPath,
): FieldError[] {
  const { apiVersion = '', fieldPath = '' } = asGiven(selector);
  if (apiVersion === '') return [required(path.child('apiVersion'), '')];
  if (fieldPath === '') return [required(path.child('fieldPath'), '')];
  const subscripted = /^(?<path>metadata\.(labels|annotations))\['(?<key>.*)'\]$/.exec(fieldPath);
  if (subscripted !== null) {
    const { path: base, key = '' } = subscripted.groups ?? {};
    const name = base === 'metadata.annotations' ? key.toLowerCase() : key;
    return check(path, name, isQualifiedName(name));
  }
  if (!knownFields.has(fieldPath)) {
    const detail = `error converting fieldPath: field label not supported: ${fieldPath}`;
    return [invalid(path.child('fieldPath'), fieldPath, detail)];
  }
  return supported.includes(fieldPath)
    ? []
    : [notSupported(path.child('fieldPath'), fieldPath, supported)];
}

const resourceFields = [
  'limits.cpu',
  'limits.ephemeral-storage',
  'limits.memory',
  'requests.cpu',
  'requests.ephemeral-storage',
  'requests.memory',
];

export function validateResourceFieldRef(
  selector: ResourceFieldSelector,
  path: FieldPath,
): FieldError[] {
  const { resource = '' } = asGiven(selector);
  if (resource === '') return [required(path.child('resource'), '')];
  if (resourceFields.includes(resource) || /^(limits|requests)\.hugepages-/.test(resource))
    return [];
  return [notSupported(path.child('resource'), resource, resourceFields)];
}

function validateKeyRef(
  { name = '', key = '' }: { readonly name?: string; readonly key?: string },
  path: FieldPath,
): FieldError[] {
  return [
    ...check(path.child('name'), name, isDns1123Subdomain(name)),
    ...(key === ''
      ? [required(path.child('key'), '')]
      : check(path.child('key'), key, isConfigKey(key))),
  ];
}

function validateFileKeyRef(selector: FileKeySelector, path: FieldPath): FieldError[] {
  const { volumeName = '', path: file = '', key = '' } = asGiven(selector);
  return [
    ...check(path.child('volumeName'), volumeName, isDns1123Label(volumeName)),
    ...(file === ''
      ? [required(path.child('path'), '')]
      : check(path.child('path'), file, localPathMessages(file))),
    ...(key === ''
      ? [required(path.child('key'), '')]
      : check(path.child('key'), key, isEnvVarName(key))),
  ];
}

export function validateEnvFrom(sources: readonly EnvFromSource[], path: FieldPath): FieldError[] {
  return sources.flatMap((source, index) => {
    const at = path.index(index);
    const { prefix = '', configMapRef, secretRef } = source;
    const errors = prefix === '' ? [] : check(at.child('prefix'), prefix, isEnvVarName(prefix));
    for (const [field, reference] of Object.entries({ configMapRef, secretRef })) {
      if (reference === undefined) continue;
      const { name = '' } = reference;
      const namePath = at.child(field, 'name');
      if (name === '') errors.push(required(namePath, ''));
      else errors.push(...check(namePath, name, isDns1123Subdomain(name)));
    }
    if (configMapRef === undefined && secretRef === undefined)
      errors.push(invalid(path, '', 'must specify one of: `configMapRef` or `secretRef`'));
    else if (configMapRef !== undefined && secretRef !== undefined)
      errors.push(invalid(path, '', 'may not have more than one field specified at a time'));
    return errors;
  });
}
