// Requests for certificates: who asks is set by the server (admission), the rest of the spec never
// changes; approving and issuing are subresources of their own.
// Differs: of the request itself only its frame is checked; its signer reads it.
// Source: kubernetes pkg/registry/certificates/certificates/strategy.go,
// pkg/apis/certificates/validation/validation.go.
import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition,
} from '#kube/api/certificates.ts';
import { fieldSet } from '#kube/machinery/apply/field-set.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  duplicate,
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
} from '#kube/machinery/field.ts';
import { isDns1123Subdomain, pathSegmentName } from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { decodeBase64 } from '../core/base64.ts';
import { asGiven, check } from '../text-rules.ts';

export const certificateSigningRequestStrategy: Strategy<CertificateSigningRequest> = {
  validateName: pathSegmentName,
  prepareForCreate(request) {
    request.status = {};
  },
  prepareForUpdate(next, old) {
    next.spec = old.spec;
  },
  validate: validateRequest,
  generationFields: 'none',
};

/** Only Approved and Denied come and stay here. */
export const certificateApproval: StatusSubresource<CertificateSigningRequest> = {
  type: 'status',
  prepareForUpdate(next, old, now) {
    const conditions = asked(next);
    next.spec = old.spec;
    next.status = { ...old.status };
    delete next.status.conditions;
    if (conditions !== undefined) next.status.conditions = withTimes(conditions, asked(old), now);
  },
  resetFields: fieldSet(['f:spec'], ['f:status', 'f:certificate']),
  validateUpdate: (next, old) => [...validateConditions(next), ...validateKept(next, old)],
};

function asked({ status }: CertificateSigningRequest): Conditions | undefined {
  return status?.conditions;
}

/** What was decided stays as it is, also in the hands of who writes it as it does not remember it. */
export const certificateStatus: StatusSubresource<CertificateSigningRequest> = {
  type: 'status',
  prepareForUpdate(next, old, now) {
    next.spec = old.spec;
    const decided = (asked(old) ?? []).filter(({ type }) => decisions.includes(type));
    const conditions = asked(next)?.map(
      (condition) => decided.find(({ type }) => type === condition.type) ?? condition,
    );
    if (conditions !== undefined)
      next.status = { ...next.status, conditions: withTimes(conditions, asked(old), now) };
  },
  resetFields: fieldSet(['f:spec']),
  validateUpdate: (next, old) => [
    ...validateConditions(next),
    ...validateKept(next, old),
    ...validateDecisions(next, old),
    ...(old.status?.certificate === undefined
      ? []
      : validateImmutable(
          next.status?.certificate,
          old.status.certificate,
          field('status', 'certificate'),
        )),
  ],
};

const usages = [
  'any',
  'cert sign',
  'client auth',
  'code signing',
  'content commitment',
  'crl sign',
  'data encipherment',
  'decipher only',
  'digital signature',
  'email protection',
  'encipher only',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'key agreement',
  'key encipherment',
  'microsoft sgc',
  'netscape sgc',
  'ocsp signing',
  's/mime',
  'server auth',
  'signing',
  'timestamping',
];
const minSeconds = 600;

function validateRequest({ spec }: CertificateSigningRequest): FieldError[] {
  const path = field('spec');
  const { request = '', usages: given = [], signerName = '', expirationSeconds } = asGiven(spec);
  const errors: FieldError[] = [];
  if (
    !/-----BEGIN CERTIFICATE REQUEST-----[^-]+-----END CERTIFICATE REQUEST-----/.test(
      decodeBase64(request),
    )
  )
    errors.push(
      invalid(path.child('request'), request, 'PEM block type must be CERTIFICATE REQUEST'),
    );
  const at = path.child('usages');
  if (given.length === 0) errors.push(required(at, ''));
  for (const [index, usage] of given.entries()) {
    if (!usages.includes(usage)) errors.push(notSupported(at.index(index), usage, usages));
    if (given.indexOf(usage) < index) errors.push(duplicate(at.index(index), usage));
  }
  if (expirationSeconds !== undefined && expirationSeconds < minSeconds)
    errors.push(
      invalid(
        path.child('expirationSeconds'),
        expirationSeconds,
        'may not specify a duration less than 600 seconds (10 minutes)',
      ),
    );
  return [...errors, ...validateSigner(signerName)];
}

function validateSigner(name: string): FieldError[] {
  const path = field('spec', 'signerName');
  if (name === '') return [required(path, '')];
  const slash = name.indexOf('/');
  const [domain, rest] = [name.slice(0, slash), name.slice(slash + 1)];
  if (slash < 0)
    return [
      invalid(
        path,
        name,
        "must be a fully qualified domain and path of the form 'example.com/signer-name'",
      ),
    ];
  if (name === 'kubernetes.io/legacy-unknown')
    return [invalid(path, name, 'the legacy signerName is not allowed via this API version')];
  const errors = check(path, domain, isDns1123Subdomain(domain));
  if (domain.split('.').length < 2)
    errors.push(
      invalid(path, domain, 'should be a domain with at least two segments separated by dots'),
    );
  return [...errors, ...check(path, rest, isDns1123Subdomain(rest))];
}

const decisions = ['Approved', 'Denied'];
const alwaysTrue = [...decisions, 'Failed'];

function validateConditions({ status }: CertificateSigningRequest): FieldError[] {
  const path = field('status', 'conditions');
  const conditions = status?.conditions ?? [];
  const types = conditions.map((condition) => asGiven(condition).type ?? '');
  const errors = conditions.flatMap((condition, index) => {
    const { type = '', status: value = '' } = asGiven(condition);
    const at = path.index(index);
    const found: FieldError[] = [];
    if (type === '') found.push(required(at.child('type'), ''));
    if (value === '') found.push(required(at.child('status'), ''));
    else if (alwaysTrue.includes(type) && value !== 'True')
      found.push(notSupported(at.child('status'), value, ['True']));
    else if (!['True', 'False', 'Unknown'].includes(value))
      found.push(notSupported(at.child('status'), value, ['True', 'False', 'Unknown']));
    if (types.indexOf(type) < index) found.push(duplicate(at.child('type'), type));
    return found;
  });
  if (decisions.every((type) => types.includes(type)))
    errors.push(
      invalid(
        path.index(types.findLastIndex((type) => decisions.includes(type))).child('type'),
        types.findLast((type) => decisions.includes(type)),
        'Approved and Denied conditions are mutually exclusive',
      ),
    );
  return errors;
}

type Conditions = readonly CertificateSigningRequestCondition[];

function validateKept(
  next: CertificateSigningRequest,
  old: CertificateSigningRequest,
): FieldError[] {
  const kept = new Set((asked(next) ?? []).map(({ type }) => type));
  return (asked(old) ?? [])
    .filter(({ type }) => alwaysTrue.includes(type) && !kept.has(type))
    .map(({ type }) =>
      forbidden(
        field('status', 'conditions'),
        `updates may not remove a condition of type "${type}"`,
      ),
    );
}

/** Whoever issues does not decide. */
function validateDecisions(
  next: CertificateSigningRequest,
  old: CertificateSigningRequest,
): FieldError[] {
  const of = (conditions: Conditions = [], type: string) =>
    conditions.filter((condition) => condition.type === type);
  return decisions
    .filter((type) => of(asked(next), type).length > 0)
    .filter((type) => !deepEqual(of(asked(next), type), of(asked(old), type)))
    .map((type) =>
      forbidden(
        field('status', 'conditions'),
        of(asked(old), type).length === 0
          ? `updates may not add a condition of type "${type}"`
          : `updates may not modify a condition of type "${type}"`,
      ),
    );
}

/** Times nobody gave: now, but a condition that was there already is as old as it was. */
function withTimes(
  conditions: Conditions,
  old: Conditions | undefined,
  now: string,
): CertificateSigningRequestCondition[] {
  return conditions.map((condition) => {
    const before = old?.find(
      ({ type, status }) => type === condition.type && status === condition.status,
    );
    const { lastUpdateTime = now, lastTransitionTime = before?.lastTransitionTime ?? now } =
      condition;
    return { ...condition, lastUpdateTime, lastTransitionTime };
  });
}
