// LimitRanges and ResourceQuotas: how much one object, or all of a namespace, may ask for.
// Source: kubernetes pkg/apis/core/{v1/defaults.go,validation/validation.go}.
import type {
  LimitRange,
  LimitRangeItem,
  ResourceQuota,
  ResourceQuotaSpec,
  ScopeSelector,
} from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import {
  duplicate,
  field,
  forbidden,
  invalid,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isQualifiedName } from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import { compareQuantities, toNumber } from '#kube/machinery/quantity.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import {
  isHugePages,
  standardResources,
  validateResourceName,
  validateResourceQuantity,
} from '../pod/resources.ts';
import { canonicalize } from '../quantities.ts';
import { asGiven, check } from '../text-rules.ts';

type Amounts = Readonly<Record<string, Quantity>>;

const limitFields = ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'] as const;

export const limitRangeStrategy: Strategy<LimitRange> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.limits ??= [];
    for (const limit of spec.limits) applyLimitDefaults(limit);
  },
  validate: ({ spec }) => validateLimits(spec.limits, field('spec', 'limits')),
  generationFields: 'none',
};

/** What is not said of containers follows from what is: the limit from max, the request from it. */
function applyLimitDefaults(limit: LimitRangeItem): void {
  if (limit.type === 'Container') {
    fillIn((limit.default ??= {}), limit.max);
    fillIn((limit.defaultRequest ??= {}), limit.default);
    fillIn(limit.defaultRequest, limit.min);
  }
  for (const name of limitFields) canonicalize(limit[name]);
}

function fillIn(amounts: Record<string, Quantity>, more: Amounts = {}): void {
  for (const [name, amount] of Object.entries(more)) amounts[name] ??= amount;
}

function validateLimits(limits: readonly LimitRangeItem[], path: FieldPath): FieldError[] {
  const seen = new Set<string>();
  return limits.flatMap((limit, index) => {
    const at = path.index(index);
    const { type = '' } = asGiven(limit);
    const errors = validateLimitType(type, at.child('type'));
    if (seen.has(type)) errors.push(duplicate(at.child('type'), type));
    seen.add(type);
    return [...errors, ...validateLimit(limit, at)];
  });
}

const limitTypes = ['Pod', 'Container', 'PersistentVolumeClaim'];

function validateLimitType(type: string, path: FieldPath): FieldError[] {
  const errors = check(path, type, isQualifiedName(type));
  if (errors.length > 0 || type.includes('/') || limitTypes.includes(type)) return errors;
  return [invalid(path, type, 'must be a standard limit type or fully qualified')];
}

function validateLimit(limit: LimitRangeItem, path: FieldPath): FieldError[] {
  const isPod = limit.type === 'Pod';
  const errors = limitFields.flatMap((name) => {
    const amounts = limit[name] ?? {};
    const at = path.child(name);
    const isDefault = name === 'default' || name === 'defaultRequest';
    if (isPod && isDefault && Object.keys(amounts).length > 0)
      return [forbidden(at, "may not be specified when `type` is 'Pod'")];
    return Object.entries(amounts).flatMap(([resource, amount]) => [
      ...validateResourceName(resource, at.key(resource)),
      ...validateResourceQuantity(resource, amount, at.key(resource)),
    ]);
  });
  const hasStorage = [limit.min, limit.max].some((amounts) => amounts?.['storage'] !== undefined);
  if (limit.type === 'PersistentVolumeClaim' && !hasStorage)
    errors.push(
      required(
        path.child('limits'),
        'either minimum or maximum storage value is required, but neither was provided',
      ),
    );
  // Amounts that can't be read can't be compared.
  return errors.length > 0 ? errors : validateOrder(limit, path);
}

function validateOrder(limit: LimitRangeItem, path: FieldPath): FieldError[] {
  const names = new Set(limitFields.flatMap((name) => Object.keys(limit[name] ?? {})));
  return [...names].flatMap((resource) => {
    const [max, min, preset, request, ratio] = limitFields.map((name) => limit[name]?.[resource]);
    const errors: FieldError[] = [];
    const ordered = (
      [lowName, low]: readonly [string, Quantity | undefined],
      [highName, high]: readonly [string, Quantity | undefined],
      [at, shown]: readonly [string, Quantity | undefined],
    ): void => {
      if (low === undefined || high === undefined || compareQuantities(low, high) <= 0) return;
      const detail = `${lowName} value ${low} is greater than ${highName} value ${high}`;
      errors.push(invalid(path.child(at).key(resource), shown, detail));
    };
    ordered(['min', min], ['max', max], ['min', min]);
    ordered(['min', min], ['default request', request], ['defaultRequest', request]);
    ordered(['default request', request], ['max', max], ['defaultRequest', request]);
    ordered(['default request', request], ['default limit', preset], ['defaultRequest', request]);
    ordered(['min', min], ['default', preset], ['default', min]);
    ordered(['default', preset], ['max', max], ['default', max]);
    if (ratio !== undefined)
      errors.push(
        ...validateRatio(ratio, { min, max }, path.child('maxLimitRequestRatio').key(resource)),
      );
    return errors;
  });
}

function validateRatio(
  ratio: Quantity,
  { min, max }: { readonly min?: Quantity; readonly max?: Quantity },
  path: FieldPath,
): FieldError[] {
  if (toNumber(ratio) < 1) return [invalid(path, ratio, `ratio ${ratio} is less than 1`)];
  if (min === undefined || max === undefined) return [];
  const greatest = toNumber(max) / toNumber(min);
  return toNumber(ratio) > greatest
    ? [invalid(path, ratio, `ratio ${ratio} is greater than max/min = ${greatest.toFixed(6)}`)]
    : [];
}

export const resourceQuotaStrategy: Strategy<ResourceQuota> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec, status }) {
    canonicalize(spec.hard);
    canonicalize(status?.hard);
    canonicalize(status?.used);
  },
  prepareForCreate(quota) {
    quota.status = {};
  },
  validate: ({ spec }) => validateQuotaSpec(spec, field('spec')),
  validateUpdate: (next, old) => [
    ...validateImmutable(
      [...(next.spec.scopes ?? [])].sort(),
      [...(old.spec.scopes ?? [])].sort(),
      field('spec', 'scopes'),
    ),
    ...validateImmutable(
      next.spec.scopeSelector,
      old.spec.scopeSelector,
      field('spec', 'scopeSelector'),
    ),
  ],
  generationFields: 'none',
};

export const resourceQuotaStatus: StatusSubresource<ResourceQuota> = {
  type: 'status',
  validateUpdate: ({ status }) => [
    ...validateHard(status?.hard ?? {}, field('status', 'hard')),
    ...validateHard(status?.used ?? {}, field('status', 'used')),
  ],
};

/** Not counted by name: those that only say how much a container or a claim has. */
const quotaResources: ReadonlySet<string> = new Set(
  [...standardResources].filter((name) => name !== 'storage'),
);

function validateHard(amounts: Amounts, path: FieldPath): FieldError[] {
  return Object.entries(amounts).flatMap(([name, amount]) => {
    const at = path.key(name);
    const errors = validateResourceName(name.replace(/^requests\.(?=hugepages-)/, ''), at);
    const isQuota =
      name.includes('/') || quotaResources.has(name) || isHugePages(name.replace('requests.', ''));
    if (!isQuota) errors.push(invalid(at, name, 'must be a standard resource for quotas'));
    return [...errors, ...validateResourceQuantity(name, amount, at)];
  });
}

const scopes = [
  'Terminating',
  'NotTerminating',
  'BestEffort',
  'NotBestEffort',
  'PriorityClass',
  'CrossNamespacePodAffinity',
  'VolumeAttributesClass',
];
const opposites = [
  ['BestEffort', 'NotBestEffort'],
  ['Terminating', 'NotTerminating'],
] as const;

function validateQuotaSpec(spec: ResourceQuotaSpec, path: FieldPath): FieldError[] {
  const hard = spec.hard ?? {};
  const given = spec.scopes ?? [];
  const at = path.child('scopes');
  const errors = validateHard(hard, path.child('hard'));
  for (const scope of given)
    errors.push(...validateScope(scope, given, { hard, path: at, supported: scopes }));
  if (opposites.some((pair) => pair.every((scope) => given.includes(scope))))
    errors.push(invalid(at, given, 'conflicting scopes'));
  if (spec.scopeSelector === undefined) return errors;
  return [
    ...errors,
    ...validateScopeSelector(spec.scopeSelector, hard, path.child('scopeSelector')),
  ];
}

interface ScopeRules {
  readonly hard: Amounts;
  readonly path: FieldPath;
  readonly supported: readonly string[];
}

function validateScope(
  scope: string,
  shown: unknown,
  { hard, path, supported }: ScopeRules,
): FieldError[] {
  if (!supported.includes(scope)) return [invalid(path, shown, 'unsupported scope')];
  const wrong = Object.keys(hard).filter(
    (name) => quotaResources.has(name) && !isScopable(scope, name),
  );
  return wrong.map(() => invalid(path, shown, 'unsupported scope applied to resource'));
}

/** Which amounts can be counted for a part of the pods, or of the claims. */
function isScopable(scope: string, resource: string): boolean {
  if (scope === 'VolumeAttributesClass')
    return resource === 'persistentvolumeclaims' || resource === 'requests.storage';
  if (scope === 'BestEffort') return resource === 'pods';
  const isCompute = /^(?:(?:requests|limits)\.)?(?:cpu|memory|ephemeral-storage)$/.test(resource);
  return resource === 'pods' || isCompute;
}

function validateScopeSelector(
  { matchExpressions = [] }: ScopeSelector,
  hard: Amounts,
  path: FieldPath,
): FieldError[] {
  const at = path.child('matchExpressions');
  const only = [
    'BestEffort',
    'NotBestEffort',
    'Terminating',
    'NotTerminating',
    'CrossNamespacePodAffinity',
  ];
  const names = matchExpressions.map(({ scopeName }) => scopeName ?? '');
  const errors = matchExpressions.flatMap((requirement) => {
    const { scopeName = '', operator = '', values = [] } = asGiven(requirement);
    const found = validateScope(scopeName, names, {
      hard,
      path: at.child('scopeName'),
      supported: scopes,
    });
    if (only.includes(scopeName) && operator !== 'Exists')
      found.push(
        invalid(
          at.child('operator'),
          operator,
          "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, " +
            'ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ' +
            'ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity',
        ),
      );
    return [...found, ...validateScopeValues(operator, values, at)];
  });
  if (opposites.some((pair) => pair.every((scope) => names.includes(scope))))
    errors.push(invalid(at, names, 'conflicting scopes'));
  return errors;
}

function validateScopeValues(
  operator: string,
  values: readonly string[],
  path: FieldPath,
): FieldError[] {
  const at = path.child('values');
  switch (operator) {
    case 'In':
    case 'NotIn':
      return values.length === 0
        ? [
            required(
              at,
              "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
          ]
        : [];
    case 'Exists':
    case 'DoesNotExist':
      return values.length > 0
        ? [
            invalid(
              at,
              values,
              "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
          ]
        : [];
    default:
      return [invalid(path.child('operator'), operator, 'not a valid selector operator')];
  }
}
