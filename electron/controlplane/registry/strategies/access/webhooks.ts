// Webhooks that are asked before a write.
// Source: kubernetes pkg/apis/admissionregistration/{v1/defaults.go,validation/validation.go},
// apiserver pkg/util/webhook/validation.go.
import type {
  MutatingWebhook,
  MutatingWebhookConfiguration,
  ServiceReference,
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
import { dns1123SubdomainName, isDns1035Label, isDns1123Subdomain } from '#kube/machinery/names.ts';
import type { Strategy } from '../../resource.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check } from '../text-rules.ts';
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
  validate: ({ webhooks = [] }) => validateWebhooks(webhooks),
};

export const validatingWebhookStrategy: Strategy<ValidatingWebhookConfiguration> = {
  validateName: dns1123SubdomainName,
  applyDefaults: ({ webhooks = [] }) => webhooks.forEach(applyWebhookDefaults),
  validate: ({ webhooks = [] }) => validateWebhooks(webhooks),
};

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

function validateWebhooks(webhooks: readonly Webhook[]): FieldError[] {
  const seen = new Set<string>();
  return webhooks.flatMap((webhook, index) => {
    const path = field('webhooks').index(index);
    const { name = '', admissionReviewVersions = [] } = asGiven(webhook);
    const errors = [
      ...validateWebhook(webhook, path),
      ...validateReviewVersions(admissionReviewVersions, path.child('admissionReviewVersions')),
    ];
    if (name !== '' && seen.has(name)) errors.push(duplicate(path.child('name'), name));
    seen.add(name);
    return errors;
  });
}

const noSideEffects = ['None', 'NoneOnDryRun'];

function validateWebhook(webhook: Webhook, path: FieldPath): FieldError[] {
  const { name = '', sideEffects, timeoutSeconds, rules = [] } = asGiven(webhook);
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
    ...validateConditions(webhook.matchConditions ?? [], path.child('matchConditions')),
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

const reviewVersions = ['v1', 'v1beta1'];

function validateReviewVersions(versions: readonly string[], path: FieldPath): FieldError[] {
  if (versions.length === 0)
    return [required(path, `must specify one of ${reviewVersions.join(', ')}`)];
  const errors = versions.flatMap((version, index) =>
    versions.indexOf(version) < index
      ? [invalid(path.index(index), version, 'duplicate version')]
      : check(path.index(index), version, isDns1035Label(version)),
  );
  if (!versions.some((version) => reviewVersions.includes(version)))
    errors.push(
      invalid(path, versions, `must include at least one of ${reviewVersions.join(', ')}`),
    );
  return errors;
}

function validateClient(client: Webhook['clientConfig'], path: FieldPath): FieldError[] {
  const { url, service } = client;
  if ((url === undefined) === (service === undefined))
    return [required(path, 'exactly one of url or service is required')];
  return service === undefined
    ? validateUrl(url ?? '', path.child('url'))
    : validateService(service, path.child('service'));
}

function validateUrl(text: string, path: FieldPath): FieldError[] {
  const form = 'desired format: https://host[/path]';
  if (!URL.canParse(text))
    return [required(path, `url must be a valid URL: parse ${JSON.stringify(text)}: ${form}`)];
  const url = new URL(text);
  const errors: FieldError[] = [];
  if (url.protocol !== 'https:')
    errors.push(
      invalid(path, url.protocol.slice(0, -1), `'https' is the only allowed URL scheme; ${form}`),
    );
  if (url.host === '') errors.push(invalid(path, url.host, `host must be specified; ${form}`));
  if (url.username !== '')
    errors.push(invalid(path, url.username, 'user information is not permitted in the URL'));
  if (url.hash !== '')
    errors.push(invalid(path, url.hash.slice(1), 'fragments are not permitted in the URL'));
  if (url.search !== '')
    errors.push(
      invalid(path, url.search.slice(1), 'query parameters are not permitted in the URL'),
    );
  return errors;
}

function validateService(service: ServiceReference, path: FieldPath): FieldError[] {
  const { name = '', namespace = '', path: urlPath, port = 443 } = asGiven(service);
  const errors: FieldError[] = [];
  if (name === '') errors.push(required(path.child('name'), 'service name is required'));
  if (namespace === '')
    errors.push(required(path.child('namespace'), 'service namespace is required'));
  if (port < 1 || port > 65_535)
    errors.push(
      invalid(
        path.child('port'),
        port,
        'port is not valid: must be between 1 and 65535, inclusive',
      ),
    );
  if (urlPath === undefined || urlPath === '/') return errors;
  const at = path.child('path');
  if (!urlPath.startsWith('/')) return [...errors, invalid(at, urlPath, "must start with a '/'")];
  const segments = urlPath.slice(1).replace(/\/$/, '').split('/');
  return [
    ...errors,
    ...segments.flatMap((segment, index) =>
      segment === ''
        ? [invalid(at, urlPath, `segment[${index}] may not be empty`)]
        : isDns1123Subdomain(segment).map((message) =>
            invalid(at, urlPath, `segment[${index}]: ${message}`),
          ),
    ),
  ];
}
