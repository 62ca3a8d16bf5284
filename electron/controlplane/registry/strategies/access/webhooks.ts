// Webhooks that are asked before a write.
// Source: kubernetes pkg/apis/admissionregistration/{v1/defaults.go,validation/validation.go}.
import type {
  MutatingWebhook,
  MutatingWebhookConfiguration,
  ValidatingWebhook,
  ValidatingWebhookConfiguration,
} from '#kube/api/admissionregistration.ts';
import {
  duplicate,
  field,
  invalid,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isDns1123Subdomain } from '#kube/machinery/names.ts';
import { admissionExpressions, loadExpressions } from '../../../cel/engine.ts';
import type { Strategy } from '../../resource.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven } from '../text-rules.ts';
import { validateClient, validateReviewVersions } from '../webhook-rules.ts';
import {
  applyRuleDefaults,
  failurePolicies,
  optional,
  validateConditions,
  validateMatchPolicy,
  validateRule,
} from './admission-rules.ts';

type Webhook = ValidatingWebhook & Pick<MutatingWebhook, 'reinvocationPolicy'>;

export const mutatingWebhookStrategy: Strategy<MutatingWebhookConfiguration> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ webhooks = [] }) {
    for (const webhook of webhooks) {
      applyWebhookDefaults(webhook);
      webhook.reinvocationPolicy ??= 'Never';
    }
  },
  load: loadFor,
  validate: ({ webhooks = [] }, old) => validateWebhooks(webhooks, old?.webhooks),
};

export const validatingWebhookStrategy: Strategy<ValidatingWebhookConfiguration> = {
  validateName: dns1123SubdomainName,
  applyDefaults: ({ webhooks = [] }) => webhooks.forEach(applyWebhookDefaults),
  load: loadFor,
  validate: ({ webhooks = [] }, old) => validateWebhooks(webhooks, old?.webhooks),
};

function loadFor({ webhooks }: { readonly webhooks?: readonly Webhook[] }) {
  const hasExpressions = (webhooks ?? []).some((webhook) => expressionsOf(webhook).length > 0);
  return hasExpressions ? loadExpressions().then(() => {}) : undefined;
}

function expressionsOf({ matchConditions }: Webhook): string[] {
  return (matchConditions ?? []).map(({ expression }) => expression);
}

function applyWebhookDefaults(webhook: Webhook): void {
  webhook.failurePolicy ??= 'Fail';
  webhook.matchPolicy ??= 'Equivalent';
  webhook.namespaceSelector ??= {};
  webhook.objectSelector ??= {};
  webhook.timeoutSeconds ??= 10;
  applyRuleDefaults(webhook.rules);
  const { service } = webhook.clientConfig;
  if (service !== undefined) service.port ??= 443;
}

function validateWebhooks(
  webhooks: readonly Webhook[],
  old: readonly Webhook[] = [],
): FieldError[] {
  const known = new Set(old.flatMap(expressionsOf));
  const seen = new Set<string>();
  return webhooks.flatMap((webhook, index) => {
    const path = field('webhooks').index(index);
    const { name = '', admissionReviewVersions = [] } = asGiven(webhook);
    const errors = [
      ...validateWebhook(webhook, path, known),
      ...validateReviewVersions(admissionReviewVersions, path.child('admissionReviewVersions')),
    ];
    if (name !== '' && seen.has(name)) errors.push(duplicate(path.child('name'), name));
    seen.add(name);
    return errors;
  });
}

const noSideEffects = ['None', 'NoneOnDryRun'];

function validateWebhook(
  webhook: Webhook,
  path: FieldPath,
  known: ReadonlySet<string>,
): FieldError[] {
  const {
    name = '',
    sideEffects,
    timeoutSeconds,
    rules = [],
    matchConditions = [],
  } = asGiven(webhook);
  const errors = [
    ...validateFullName(name, path.child('name')),
    ...rules.flatMap((rule, index) => validateRule(rule, path.child('rules').index(index))),
    ...optional(webhook.failurePolicy, failurePolicies, path.child('failurePolicy')),
    ...validateMatchPolicy(webhook.matchPolicy, path.child('matchPolicy')),
    ...(sideEffects === undefined
      ? [required(path.child('sideEffects'), `must specify one of ${noSideEffects.join(', ')}`)]
      : optional(sideEffects, noSideEffects, path.child('sideEffects'))),
  ];
  if (timeoutSeconds !== undefined && (timeoutSeconds > 30 || timeoutSeconds < 1))
    errors.push(
      invalid(
        path.child('timeoutSeconds'),
        timeoutSeconds,
        'the timeout value must be between 1 and 30 seconds',
      ),
    );
  return [
    ...errors,
    ...validateLabelSelector(webhook.namespaceSelector, path.child('namespaceSelector')),
    ...validateLabelSelector(webhook.objectSelector, path.child('objectSelector')),
    ...validateClient(webhook.clientConfig, path.child('clientConfig')),
    ...optional(
      webhook.reinvocationPolicy,
      ['IfNeeded', 'Never'],
      path.child('reinvocationPolicy'),
    ),
    // Loaded only if there are any.
    ...(matchConditions.length === 0
      ? []
      : validateConditions(matchConditions, path.child('matchConditions'), {
          scope: admissionExpressions().scope('condition'),
          known,
        })),
  ];
}

function validateFullName(name: string, path: FieldPath): FieldError[] {
  if (name === '') return [required(path, '')];
  const messages = isDns1123Subdomain(name);
  if (messages.length > 0) return [invalid(path, name, messages.join(','))];
  return name.split('.').length < 3
    ? [invalid(path, name, 'should be a domain with at least three segments separated by dots')]
    : [];
}
