// Policies in CEL that writes are checked against, and where they hold.
// Expressions are checked against what is known of any request; where the objects' own types say they can't
// hold, the policy's status tells so.
// Source: kubernetes pkg/apis/admissionregistration/{v1/defaults.go,validation/validation.go}.
import type {
  ParamRef,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingAdmissionPolicyBindingSpec,
  ValidatingAdmissionPolicySpec,
  Validation,
} from '#kube/api/admissionregistration.ts';
import {
  duplicate,
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isDns1123Subdomain } from '#kube/machinery/names.ts';
import { admissionExpressions, loadExpressions, type TypeScope } from '../../../cel/engine.ts';
import { typeWarnings } from '../../../cel/policy-types.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check, checkChoice } from '../text-rules.ts';
import {
  applyMatchDefaults,
  checkExpression,
  failurePolicies,
  validateConditions,
  validateMatch,
} from './admission-rules.ts';

export const validatingAdmissionPolicyStrategy: Strategy<ValidatingAdmissionPolicy> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.failurePolicy ??= 'Fail';
    applyMatchDefaults(spec.matchConstraints);
  },
  prepareForCreate(policy) {
    policy.status = {};
  },
  load: () => loadExpressions().then(() => {}),
  validate: ({ spec }, old) =>
    validatePolicy(spec, field('spec'), {
      policy: admissionExpressions().scope('policy'),
      message: admissionExpressions().scope('message'),
      known: new Set(old === undefined ? [] : expressionsOf(old.spec)),
    }),
  complete(policy, kinds) {
    const expressionWarnings = typeWarnings(admissionExpressions(), policy.spec, kinds);
    policy.status = {
      ...policy.status,
      ...(policy.metadata.generation === undefined
        ? {}
        : { observedGeneration: policy.metadata.generation }),
      typeChecking: expressionWarnings.length === 0 ? {} : { expressionWarnings },
    };
  },
};

interface Scopes {
  readonly policy: TypeScope;
  /** Who may what is nothing that messages could tell. */
  readonly message: TypeScope;
  readonly known: ReadonlySet<string>;
}

export const validatingAdmissionPolicyStatus: StatusSubresource<ValidatingAdmissionPolicy> = {
  type: 'status',
};

function expressionsOf(spec: ValidatingAdmissionPolicySpec): string[] {
  const { matchConditions = [], variables = [], validations = [], auditAnnotations = [] } = spec;
  return [
    ...[...matchConditions, ...variables, ...validations].map(({ expression }) => expression),
    ...validations.map(({ messageExpression = '' }) => messageExpression),
    ...auditAnnotations.map(({ valueExpression }) => valueExpression),
  ];
}

function validatePolicy(
  spec: ValidatingAdmissionPolicySpec,
  path: FieldPath,
  scopes: Scopes,
): FieldError[] {
  const { known } = scopes;
  const { paramKind, matchConstraints, validations = [], auditAnnotations = [] } = spec;
  const errors = checkChoice(path.child('failurePolicy'), spec.failurePolicy, failurePolicies);
  if (paramKind !== undefined)
    for (const name of ['apiVersion', 'kind'] as const)
      if ((paramKind[name] ?? '') === '') errors.push(required(path.child('paramKind', name), ''));
  const at = path.child('matchConstraints');
  if (matchConstraints === undefined) errors.push(required(at, ''));
  else {
    errors.push(...validateMatch(matchConstraints, at));
    if ((matchConstraints.resourceRules ?? []).length === 0)
      errors.push(required(at.child('resourceRules'), ''));
  }
  errors.push(
    ...validateConditions(spec.matchConditions ?? [], path.child('matchConditions'), {
      scope: scopes.policy,
      known,
    }),
    ...validateVariables(spec.variables ?? [], path.child('variables'), scopes),
  );
  if (validations.length + auditAnnotations.length === 0)
    errors.push(
      required(
        path.child('validations'),
        'validations or auditAnnotations must contain at least one item',
      ),
    );
  for (const [index, validation] of validations.entries())
    errors.push(...validateValidation(validation, path.child('validations').index(index), scopes));
  for (const [index, annotation] of auditAnnotations.entries()) {
    const { key = '', valueExpression = '' } = asGiven(annotation);
    const itemPath = path.child('auditAnnotations').index(index);
    if (key === '') errors.push(required(itemPath.child('key'), ''));
    if (auditAnnotations.findIndex((other) => other.key === key) < index)
      errors.push(duplicate(itemPath.child('key'), key));
    if (valueExpression.trim() === '')
      errors.push(required(itemPath.child('valueExpression'), 'valueExpression is not specified'));
    errors.push(
      ...checkExpression(valueExpression, itemPath.child('valueExpression'), {
        scope: scopes.message,
        types: ['string', 'null'],
        known,
      }),
    );
  }
  return errors;
}

function validateVariables(
  variables: readonly { readonly name: string; readonly expression: string }[],
  path: FieldPath,
  { policy, message, known }: Scopes,
): FieldError[] {
  const seen = new Set<string>();
  return variables.flatMap((variable, index) => {
    const { name = '', expression = '' } = asGiven(variable);
    const at = path.index(index);
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(at.child('name'), 'name is not specified'));
    else if (!/^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name))
      errors.push(invalid(at.child('name'), name, 'name is not a valid CEL identifier'));
    if (name !== '' && seen.has(name)) errors.push(duplicate(at.child('name'), name));
    seen.add(name);
    if (expression.trim() === '')
      errors.push(required(at.child('expression'), 'expression is not specified'));
    errors.push(...checkExpression(expression, at.child('expression'), { scope: policy, known }));
    policy.add(name, expression);
    message.add(name, expression);
    return errors;
  });
}

const reasons = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'];

function validateValidation(
  validation: Validation,
  path: FieldPath,
  { policy, message: messageScope, known }: Scopes,
): FieldError[] {
  const { expression = '', message, messageExpression, reason } = asGiven(validation);
  const errors: FieldError[] = [];
  if (expression.trim() === '')
    errors.push(required(path.child('expression'), 'expression is not specified'));
  if (message !== undefined && message.trim() === '')
    errors.push(invalid(path.child('message'), message, 'message must be non-empty if specified'));
  if (message?.includes('\n') === true)
    errors.push(invalid(path.child('message'), message, 'message must not contain line breaks'));
  if (expression.includes('\n') && message === undefined)
    errors.push(
      required(
        path.child('message'),
        'message must be specified if expression contains line breaks',
      ),
    );
  if (messageExpression !== undefined && messageExpression.trim() === '')
    errors.push(
      invalid(path.child('messageExpression'), messageExpression, 'must be non-empty if specified'),
    );
  errors.push(
    ...checkExpression(expression, path.child('expression'), {
      scope: policy,
      types: ['bool'],
      known,
    }),
    ...checkExpression(messageExpression ?? '', path.child('messageExpression'), {
      scope: messageScope,
      types: ['string'],
      known,
    }),
  );
  if (reason !== undefined && !reasons.includes(reason))
    errors.push(notSupported(path.child('reason'), reason, reasons));
  return errors;
}

export const validatingAdmissionPolicyBindingStrategy: Strategy<ValidatingAdmissionPolicyBinding> =
  {
    validateName: dns1123SubdomainName,
    applyDefaults: ({ spec }) => applyMatchDefaults(spec.matchResources),
    validate: ({ spec }) => validateBinding(spec, field('spec')),
  };

const actions = ['Audit', 'Deny', 'Warn'];

function validateBinding(
  spec: ValidatingAdmissionPolicyBindingSpec,
  path: FieldPath,
): FieldError[] {
  const { policyName = '', paramRef, matchResources, validationActions = [] } = asGiven(spec);
  const at = path.child('validationActions');
  const errors =
    policyName === ''
      ? [required(path.child('policyName'), '')]
      : check(path.child('policyName'), policyName, isDns1123Subdomain(policyName));
  if (paramRef !== undefined) errors.push(...validateParamRef(paramRef, path.child('paramRef')));
  if (matchResources !== undefined)
    errors.push(...validateMatch(matchResources, path.child('matchResources')));
  if (validationActions.length === 0)
    errors.push(required(at, 'at least one validation action is required'));
  for (const [index, action] of validationActions.entries()) {
    if (!actions.includes(action)) errors.push(notSupported(at.index(index), action, actions));
    if (validationActions.indexOf(action) < index) errors.push(duplicate(at.index(index), action));
  }
  if (validationActions.includes('Deny') && validationActions.includes('Warn'))
    errors.push(
      invalid(
        at,
        validationActions,
        'must not contain both Deny and Warn (repeating the same validation failure information ' +
          'in the API response and headers serves no purpose)',
      ),
    );
  return errors;
}

function validateParamRef(paramRef: ParamRef, path: FieldPath): FieldError[] {
  const { name = '', namespace = '', selector, parameterNotFoundAction } = paramRef;
  const errors: FieldError[] = [];
  if (name !== '') errors.push(...check(path.child('name'), name, isDns1123Subdomain(name)));
  if (name !== '' && selector !== undefined)
    errors.push(forbidden(path.child('name'), 'name and selector are mutually exclusive'));
  if (name === '' && selector === undefined)
    errors.push(required(path, 'one of name or selector must be specified'));
  if (namespace !== '')
    errors.push(...check(path.child('namespace'), namespace, isDns1123Subdomain(namespace)));
  if (selector !== undefined)
    errors.push(...validateLabelSelector(selector, path.child('selector')));
  const at = path.child('parameterNotFoundAction');
  return [...errors, ...checkChoice(at, parameterNotFoundAction, ['Allow', 'Deny'])];
}
