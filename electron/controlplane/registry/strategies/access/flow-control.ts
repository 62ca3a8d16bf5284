// FlowSchemas and PriorityLevelConfigurations: which requests belong together, and their share.
// Source: kubernetes pkg/apis/flowcontrol/{v1/defaults.go,validation/validation.go}.
import type {
  FlowSchema,
  FlowSchemaSpec,
  LimitResponse,
  LimitedPriorityLevelConfiguration,
  NonResourcePolicyRule,
  PolicyRulesWithSubjects,
  PriorityLevelConfiguration,
  PriorityLevelConfigurationSpec,
  ResourcePolicyRule,
  Subject,
} from '#kube/api/flowcontrol.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isDns1123Subdomain } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { asGiven, check } from '../text-rules.ts';

export const flowSchemaStrategy: Strategy<FlowSchema> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.matchingPrecedence ||= 1000;
  },
  prepareForCreate(schema) {
    schema.status = {};
  },
  validate: ({ metadata, spec }) => validateSchema(metadata.name, spec, field('spec')),
};

export const flowSchemaStatus: StatusSubresource<FlowSchema> = { type: 'status' };

const maxPrecedence = 10_000;
const methods = ['ByNamespace', 'ByUser'];

function validateSchema(name: string, spec: FlowSchemaSpec, path: FieldPath): FieldError[] {
  const { matchingPrecedence = 0, distinguisherMethod, rules = [] } = spec;
  const at = path.child('matchingPrecedence');
  const errors: FieldError[] = [];
  if (matchingPrecedence <= 0)
    errors.push(invalid(at, matchingPrecedence, 'must be a positive value'));
  if (matchingPrecedence > maxPrecedence)
    errors.push(invalid(at, matchingPrecedence, `must not be greater than ${maxPrecedence}`));
  if (matchingPrecedence === 1 && name !== 'exempt')
    errors.push(
      invalid(
        at,
        matchingPrecedence,
        "only the schema named 'exempt' may have matchingPrecedence 1",
      ),
    );
  const method = distinguisherMethod?.type ?? '';
  if (distinguisherMethod !== undefined && !methods.includes(method))
    errors.push(notSupported(path.child('distinguisherMethod', 'type'), method, methods));
  const level = asGiven(spec.priorityLevelConfiguration).name ?? '';
  const levelPath = path.child('priorityLevelConfiguration', 'name');
  errors.push(
    ...(level === ''
      ? [required(levelPath, 'must reference a priority level')]
      : check(levelPath, level, isDns1123Subdomain(level))),
  );
  return [
    ...errors,
    ...rules.flatMap((rule, index) => validateRule(rule, path.child('rules').index(index))),
  ];
}

function validateRule(rule: PolicyRulesWithSubjects, path: FieldPath): FieldError[] {
  const { subjects = [], resourceRules = [], nonResourceRules = [] } = asGiven(rule);
  const errors: FieldError[] = [];
  if (subjects.length === 0)
    errors.push(required(path.child('subjects'), 'subjects must contain at least one value'));
  for (const [index, subject] of subjects.entries())
    errors.push(...validateSubject(subject, path.child('subjects').index(index)));
  if (resourceRules.length + nonResourceRules.length === 0)
    errors.push(
      required(path, 'at least one of resourceRules and nonResourceRules has to be non-empty'),
    );
  return [
    ...errors,
    ...resourceRules.flatMap((entry, index) =>
      validateResourceRule(entry, path.child('resourceRules').index(index)),
    ),
    ...nonResourceRules.flatMap((entry, index) =>
      validateUrlRule(entry, path.child('nonResourceRules').index(index)),
    ),
  ];
}

const subjectFields = { ServiceAccount: 'serviceAccount', User: 'user', Group: 'group' } as const;

function validateSubject(subject: Subject, path: FieldPath): FieldError[] {
  const { kind = '' } = asGiven(subject);
  if (!Object.hasOwn(subjectFields, kind))
    return [notSupported(path.child('kind'), kind, Object.keys(subjectFields))];
  return Object.entries(subjectFields).flatMap(([name, key]) => {
    const value = subject[key];
    const at = path.child(key);
    if (name !== kind)
      return value === undefined
        ? []
        : [forbidden(at, `${key} is forbidden when subject kind is not '${name}'`)];
    if (value === undefined)
      return [required(at, `${key} is required when subject kind is '${name}'`)];
    const missing =
      key === 'serviceAccount' ? (['namespace', 'name'] as const) : (['name'] as const);
    return missing
      .filter(
        (part) =>
          ((value as { readonly name?: string; readonly namespace?: string })[part] ?? '') === '',
      )
      .map((part) => required(at.child(part), ''));
  });
}

/** A list that must say something, and nothing beside a wildcard. */
function validateList(
  values: readonly string[],
  path: FieldPath,
  texts: { readonly none: string; readonly others: string },
): FieldError[] {
  if (values.length === 0) return [required(path, texts.none)];
  return values.length > 1 && values.includes('*')
    ? [invalid(path, values, `if '*' is present, must not specify other ${texts.others}`)]
    : [];
}

function validateResourceRule(rule: ResourcePolicyRule, path: FieldPath): FieldError[] {
  const { verbs = [], apiGroups = [], resources = [], namespaces = [] } = asGiven(rule);
  const errors = [
    ...validateList(verbs, path.child('verbs'), {
      none: 'verbs must contain at least one value',
      others: 'verbs',
    }),
    ...validateList(apiGroups, path.child('apiGroups'), {
      none: 'resource rules must supply at least one api group',
      others: 'api groups',
    }),
    ...validateList(resources, path.child('resources'), {
      none: 'resource rules must supply at least one resource',
      others: 'resources',
    }),
  ];
  const at = path.child('namespaces');
  if (namespaces.length === 0 && rule.clusterScope !== true)
    errors.push(
      required(at, 'resource rules that are not cluster scoped must supply at least one namespace'),
    );
  if (namespaces.length > 1 && namespaces.includes('*'))
    errors.push(invalid(at, namespaces, "if '*' is present, must not specify other namespaces"));
  return errors;
}

function validateUrlRule(rule: NonResourcePolicyRule, path: FieldPath): FieldError[] {
  const { verbs = [], nonResourceURLs = [] } = asGiven(rule);
  return [
    ...validateList(verbs, path.child('verbs'), {
      none: 'verbs must contain at least one value',
      others: 'verbs',
    }),
    ...validateList(nonResourceURLs, path.child('nonResourceURLs'), {
      none: 'nonResourceURLs must contain at least one value',
      others: 'non-resource URLs',
    }),
  ];
}

export const priorityLevelStrategy: Strategy<PriorityLevelConfiguration> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    if (spec.exempt !== undefined) {
      spec.exempt.nominalConcurrencyShares ??= 0;
      spec.exempt.lendablePercent ??= 0;
    }
    if (spec.limited === undefined) return;
    spec.limited.nominalConcurrencyShares ??= 30;
    spec.limited.lendablePercent ??= 0;
    const { queuing } = spec.limited.limitResponse ?? {};
    if (queuing === undefined) return;
    queuing.handSize ||= 8;
    queuing.queues ||= 64;
    queuing.queueLengthLimit ||= 50;
  },
  prepareForCreate(level) {
    level.status = {};
  },
  validate: ({ spec }) => validateLevel(spec, field('spec')),
};

export const priorityLevelStatus: StatusSubresource<PriorityLevelConfiguration> = {
  type: 'status',
};

function validateLevel(spec: PriorityLevelConfigurationSpec, path: FieldPath): FieldError[] {
  const { type = '', limited, exempt } = asGiven(spec);
  switch (type) {
    case 'Exempt':
      return limited === undefined
        ? []
        : [forbidden(path.child('limited'), 'must be nil if the type is not Limited')];
    case 'Limited':
      return [
        ...(exempt === undefined
          ? []
          : [forbidden(path.child('exempt'), 'must be nil if the type is not Exempt')]),
        ...(limited === undefined
          ? [required(path.child('limited'), 'must not be empty when type is Limited')]
          : validateLimited(limited, path.child('limited'))),
      ];
    default:
      return [notSupported(path.child('type'), type, ['Exempt', 'Limited'])];
  }
}

function validateLimited(
  limited: LimitedPriorityLevelConfiguration,
  path: FieldPath,
): FieldError[] {
  const {
    nominalConcurrencyShares: shares = 0,
    lendablePercent = 0,
    borrowingLimitPercent,
  } = limited;
  const errors: FieldError[] = [];
  if (shares < 0)
    errors.push(
      invalid(path.child('nominalConcurrencyShares'), shares, 'must be a non-negative integer'),
    );
  if (lendablePercent < 0 || lendablePercent > 100)
    errors.push(
      invalid(
        path.child('lendablePercent'),
        lendablePercent,
        'must be between 0 and 100, inclusive',
      ),
    );
  if (borrowingLimitPercent !== undefined && borrowingLimitPercent < 0)
    errors.push(
      invalid(
        path.child('borrowingLimitPercent'),
        borrowingLimitPercent,
        'if specified, must be a non-negative integer',
      ),
    );
  const response = limited.limitResponse ?? { type: '' };
  return [...errors, ...validateResponse(response, path.child('limitResponse'))];
}

function validateResponse(response: LimitResponse, path: FieldPath): FieldError[] {
  const { type = '', queuing } = asGiven(response);
  const at = path.child('queuing');
  if (type !== 'Reject' && type !== 'Queue')
    return [notSupported(path.child('type'), type, ['Queue', 'Reject'])];
  if (type === 'Reject')
    return queuing === undefined
      ? []
      : [forbidden(at, 'must be nil if limited.limitResponse.type is not Limited')];
  if (queuing === undefined)
    return [required(at, 'must not be empty if limited.limitResponse.type is Limited')];
  const { queues = 0, handSize = 0, queueLengthLimit = 0 } = queuing;
  const errors = Object.entries({ queueLengthLimit, queues, handSize })
    .filter(([, value]) => value <= 0)
    .map(([name, value]) => invalid(at.child(name), value, 'must be positive'));
  if (handSize > queues)
    errors.push(
      invalid(at.child('handSize'), handSize, `should not be greater than queues (${queues})`),
    );
  return errors;
}
