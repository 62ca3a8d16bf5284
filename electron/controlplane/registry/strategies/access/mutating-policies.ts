// Policies in CEL that change what is written, and where they hold.
// Source: kubernetes pkg/apis/admissionregistration/{v1beta1/defaults.go,validation/validation.go}.
import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  MutatingAdmissionPolicySpec,
  Mutation,
} from '#kube/api/admissionregistration-v1beta1.ts';
import {
  field,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import { admissionExpressions, loadExpressions, type TypeScope } from '../../../cel/engine.ts';
import type { Strategy } from '../../resource.ts';
import { asGiven, checkChoice } from '../text-rules.ts';
import { applyMatchDefaults, checkExpression } from './admission-rules.ts';
import { validateBound, validateWhereAndWhen, type Scopes } from './policy-rules.ts';

/** Of what is deleted nothing can be changed. */
const operations = ['*', 'CONNECT', 'CREATE', 'UPDATE'];
const reinvocationPolicies = ['IfNeeded', 'Never'];

export const mutatingAdmissionPolicyStrategy: Strategy<MutatingAdmissionPolicy> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.failurePolicy ??= 'Fail';
    applyMatchDefaults(spec.matchConstraints);
  },
  load: () => loadExpressions().then(() => {}),
  validate: ({ spec }, old) =>
    validatePolicy(spec, field('spec'), {
      policy: admissionExpressions().scope('policy'),
      mutation: admissionExpressions().scope('mutation'),
      known: new Set(old === undefined ? [] : expressionsOf(old.spec)),
    }),
};

interface OwnScopes extends Scopes {
  /** Here can patches and configurations be made. */
  readonly mutation: TypeScope;
}

function expressionsOf(spec: MutatingAdmissionPolicySpec): string[] {
  const { matchConditions = [], variables = [], mutations = [] } = spec;
  return [
    ...[...matchConditions, ...variables].map(({ expression }) => expression),
    ...mutations.flatMap(({ jsonPatch, applyConfiguration }) =>
      [jsonPatch, applyConfiguration].map((patch) => patch?.expression ?? ''),
    ),
  ];
}

function validatePolicy(
  spec: MutatingAdmissionPolicySpec,
  path: FieldPath,
  scopes: OwnScopes,
): FieldError[] {
  const { mutations = [], reinvocationPolicy = '' } = spec;
  const errors = validateWhereAndWhen(spec, path, { scopes, operations });
  const at = path.child('mutations');
  if (mutations.length === 0) errors.push(required(at, 'mutations must contain at least one item'));
  for (const [index, mutation] of mutations.entries())
    errors.push(...validateMutation(asGiven(mutation), at.index(index), scopes));
  if (reinvocationPolicy === '') errors.push(required(path.child('reinvocationPolicy'), ''));
  else
    errors.push(
      ...checkChoice(path.child('reinvocationPolicy'), reinvocationPolicy, reinvocationPolicies),
    );
  return errors;
}

/** What each patch type says its expression in, and what that comes to. */
const patches = {
  ApplyConfiguration: { member: 'applyConfiguration', type: 'Object' },
  JSONPatch: { member: 'jsonPatch', type: 'list<JSONPatch>' },
} as const;

function validateMutation(
  mutation: Partial<Mutation>,
  path: FieldPath,
  { mutation: scope, known }: OwnScopes,
): FieldError[] {
  const { patchType = '' } = mutation;
  const at = path.child('patchType');
  if (patchType === '') return [required(at, '')];
  if (patchType !== 'ApplyConfiguration' && patchType !== 'JSONPatch')
    return [notSupported(at, patchType, Object.keys(patches))];
  const { member, type } = patches[patchType];
  const errors: FieldError[] = [];
  const expression = mutation[member]?.expression ?? '';
  const place = path.child(member, 'expression');
  if (mutation[member] === undefined)
    errors.push(required(path.child(member), `must be specified when patchType is ${patchType}`));
  else if (expression.trim() === '') errors.push(required(place, 'expression is not specified'));
  else errors.push(...checkExpression(expression, place, { scope, types: [type], known }));
  const other = member === 'jsonPatch' ? 'applyConfiguration' : 'jsonPatch';
  if (mutation[other] !== undefined)
    errors.push(
      invalid(
        path.child(other),
        `{${other}}`,
        `must not be specified when patchType is ${patchType}`,
      ),
    );
  return errors;
}

export const mutatingAdmissionPolicyBindingStrategy: Strategy<MutatingAdmissionPolicyBinding> = {
  validateName: dns1123SubdomainName,
  applyDefaults: ({ spec }) => applyMatchDefaults(spec.matchResources),
  validate: ({ spec }) => validateBound(asGiven(spec), field('spec')),
};
