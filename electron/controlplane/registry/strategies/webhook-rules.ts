// Where a webhook is and which reviews it understands: the same for admission and for conversion.
// Source: kubernetes apiserver pkg/util/webhook/validation.go.
import { invalid, required, type FieldError, type FieldPath } from '#kube/machinery/field.ts';
import { isDns1035Label, isDns1123Subdomain } from '#kube/machinery/names.ts';
import type { WebhookAddress } from '#kube/machinery/webhook.ts';
import { asGiven, check } from './text-rules.ts';

const reviewVersions = ['v1', 'v1beta1'];

export function validateReviewVersions(versions: readonly string[], path: FieldPath): FieldError[] {
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

export function validateClient(client: WebhookAddress, path: FieldPath): FieldError[] {
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

function validateService(
  service: NonNullable<WebhookAddress['service']>,
  path: FieldPath,
): FieldError[] {
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
