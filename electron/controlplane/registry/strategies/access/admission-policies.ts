// Policies in CEL that writes are checked against, and where they hold.
// Expressions are checked against what is known of any request; where the objects' own types say they can't
// hold, the policy's status tells so.
// Source: kubernetes pkg/apis/admissionregistration/{v1/defaults.go,validation/validation.go}.
import type {
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingAdmissionPolicyBindingSpec,
  ValidatingAdmissionPolicySpec,
  Validation,
} from '#kube/api/admissionregistration.ts';
import {
  duplicate,
  field,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import { admissionExpressions, loadExpressions, type TypeScope } from '../../../cel/engine.ts';
import { typeWarnings } from '../../../cel/policy-types.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { asGiven } from '../text-rules.ts';
import { applyMatchDefaults, checkExpression } from './admission-rules.ts';
import { validateBound, validateWhereAndWhen, type Scopes } from './policy-rules.ts';

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

export const validatingAdmissionPolicyStatus: StatusSubresource<ValidatingAdmissionPolicy> = {
  type: 'status',
};

interface OwnScopes extends Scopes {
  /** Who may what is nothing that messages could tell. */
  readonly message: TypeScope;
}

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
  scopes: OwnScopes,
): FieldError[] {
  const { known } = scopes;
  const { validations = [], auditAnnotations = [] } = spec;
  const errors = validateWhereAndWhen(spec, path, { scopes });
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

const reasons = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'];

function validateValidation(
  validation: Validation,
  path: FieldPath,
  { policy, message: messageScope, known }: OwnScopes,
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
  const { validationActions = [] } = asGiven(spec);
  const at = path.child('validationActions');
  const errors = validateBound(spec, path);
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
