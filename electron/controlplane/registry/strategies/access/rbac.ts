// Roles and their bindings. Who may grant what is the authorizer's to say.
// Source: kubernetes pkg/apis/rbac/{v1/defaults.go,validation/validation.go}.
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
  Subject,
} from '#kube/api/rbac.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Subdomain, isPathSegmentName, pathSegmentName } from '#kube/machinery/names.ts';
import type { Strategy } from '../../resource.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check, checkRequired } from '../text-rules.ts';

const group = 'rbac.authorization.k8s.io';

/** What all four have in common. */
const common = {
  validateName: pathSegmentName,
  allowCreateOnUpdate: true,
  generationFields: 'none',
} as const;

export const roleStrategy: Strategy<Role> = {
  ...common,
  applyDefaults(role) {
    role.rules ??= [];
  },
  validate: ({ rules = [] }) => validateRules(rules, true),
};

export const clusterRoleStrategy: Strategy<ClusterRole> = {
  ...common,
  applyDefaults(role) {
    role.rules ??= [];
  },
  validate: ({ rules = [], aggregationRule }) => {
    const errors = validateRules(rules, false);
    if (aggregationRule === undefined) return errors;
    const at = field('aggregationRule', 'clusterRoleSelectors');
    const selectors = aggregationRule.clusterRoleSelectors ?? [];
    if (selectors.length === 0)
      errors.push(
        required(at, 'at least one clusterRoleSelector required if aggregationRule is non-nil'),
      );
    return [
      ...errors,
      ...selectors.flatMap((selector, index) => validateLabelSelector(selector, at.index(index))),
    ];
  },
};

function validateRules(rules: readonly PolicyRule[], isNamespaced: boolean): FieldError[] {
  return rules.flatMap((rule, index) =>
    validateRule(rule, isNamespaced, field('rules').index(index)),
  );
}

function validateRule(rule: PolicyRule, isNamespaced: boolean, path: FieldPath): FieldError[] {
  const { verbs = [], apiGroups = [], resources = [], resourceNames = [] } = asGiven(rule);
  const urls = rule.nonResourceURLs ?? [];
  const urlPath = path.child('nonResourceURLs');
  const errors: FieldError[] = [];
  if (verbs.length === 0)
    errors.push(required(path.child('verbs'), 'verbs must contain at least one value'));
  if (urls.length > 0) {
    if (isNamespaced)
      errors.push(invalid(urlPath, urls, 'namespaced rules cannot apply to non-resource URLs'));
    if (apiGroups.length + resources.length + resourceNames.length > 0)
      errors.push(
        invalid(
          urlPath,
          urls,
          'rules cannot apply to both regular resources and non-resource URLs',
        ),
      );
    return errors;
  }
  if (apiGroups.length === 0)
    errors.push(
      required(path.child('apiGroups'), 'resource rules must supply at least one api group'),
    );
  if (resources.length === 0)
    errors.push(
      required(path.child('resources'), 'resource rules must supply at least one resource'),
    );
  return errors;
}

type Binding = RoleBinding | ClusterRoleBinding;

export const roleBindingStrategy: Strategy<RoleBinding> = {
  ...common,
  applyDefaults: applyBindingDefaults,
  validate: (binding) => validateBinding(binding, ['ClusterRole', 'Role'], true),
  validateUpdate: validateSameRole,
};

export const clusterRoleBindingStrategy: Strategy<ClusterRoleBinding> = {
  ...common,
  applyDefaults: applyBindingDefaults,
  validate: (binding) => validateBinding(binding, ['ClusterRole'], false),
  validateUpdate: validateSameRole,
};

function applyBindingDefaults({ roleRef, subjects = [] }: Binding): void {
  roleRef.apiGroup ||= group;
  for (const subject of subjects)
    if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup ||= group;
}

function validateBinding(
  { roleRef, subjects = [] }: Binding,
  kinds: readonly string[],
  isNamespaced: boolean,
): FieldError[] {
  const path = field('roleRef');
  const { apiGroup = '', kind = '', name } = asGiven(roleRef);
  return [
    ...(apiGroup === group ? [] : [notSupported(path.child('apiGroup'), apiGroup, [group])]),
    ...(kinds.includes(kind) ? [] : [notSupported(path.child('kind'), kind, kinds)]),
    ...checkRequired(path.child('name'), name, isPathSegmentName),
    ...subjects.flatMap((subject, index) =>
      validateSubject(subject, isNamespaced, field('subjects').index(index)),
    ),
  ];
}

function validateSubject(subject: Subject, isNamespaced: boolean, path: FieldPath): FieldError[] {
  const { kind = '', name = '', namespace = '', apiGroup = '' } = asGiven(subject);
  const errors = name === '' ? [required(path.child('name'), '')] : [];
  const groupPath = path.child('apiGroup');
  switch (kind) {
    case 'ServiceAccount':
      if (name !== '') errors.push(...check(path.child('name'), name, isDns1123Subdomain(name)));
      if (apiGroup !== '') errors.push(notSupported(groupPath, apiGroup, ['']));
      if (!isNamespaced && namespace === '') errors.push(required(path.child('namespace'), ''));
      return errors;
    case 'User':
    case 'Group':
      return apiGroup === group ? errors : [...errors, notSupported(groupPath, apiGroup, [group])];
    default: {
      const kinds = ['ServiceAccount', 'User', 'Group'];
      return [...errors, notSupported(path.child('kind'), kind, kinds)];
    }
  }
}

function validateSameRole(next: Binding, old: Binding): FieldError[] {
  return deepEqual(next.roleRef, old.roleRef)
    ? []
    : [invalid(field('roleRef'), next.roleRef, 'cannot change roleRef')];
}
