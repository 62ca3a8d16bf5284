// APIServices: which group and version another server answers for. Local ones only say in which
// order clients prefer what is served here.
// Source: kubernetes kube-aggregator pkg/registry/apiservice/strategy.go,
// pkg/apis/apiregistration/{v1/defaults.go,validation/validation.go}.
import type { APIService } from '#kube/api/apiregistration.ts';
import { field, invalid, required, type FieldError } from '#kube/machinery/field.ts';
import { isDns1035Label, isDns1123Subdomain, isPathSegmentName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { base64Size } from '../core/base64.ts';
import { check, checkChoice } from '../text-rules.ts';

export const apiServiceStrategy: Strategy<APIService> = {
  validateName: isPathSegmentName,
  requireResourceVersion: true,
  applyDefaults({ spec }) {
    // Go's zero values, which the rules name.
    spec.groupPriorityMinimum ??= 0;
    spec.versionPriority ??= 0;
    if (spec.service !== undefined) spec.service.port ??= 443;
  },
  prepareForCreate(apiService) {
    if (apiService.spec?.service !== undefined) return;
    apiService.status = {
      conditions: [
        {
          type: 'Available',
          status: 'True',
          lastTransitionTime: apiService.metadata.creationTimestamp ?? '',
          reason: 'Local',
          message: 'Local APIServices are always available',
        },
      ],
    };
  },
  validate: ({ metadata, spec }) => [...validateName(metadata.name, spec), ...validateSpec(spec)],
};

type Spec = APIService['spec'];
const at = field('spec');

function validateName(name: string, { group = '', version = '' }: Spec): FieldError[] {
  const wanted = `${version}.${group}`;
  if (isPathSegmentName(name).length > 0 || name === wanted) return [];
  return [
    invalid(
      field('metadata', 'name'),
      name,
      `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(wanted)}`,
    ),
  ];
}

function validateSpec(spec: Spec): FieldError[] {
  const { group = '', version = '', groupPriorityMinimum, versionPriority } = spec;
  const errors: FieldError[] = [];
  if (group === '' && version !== 'v1')
    errors.push(
      required(at.child('group'), 'only v1 may have an empty group and it better be legacy kube'),
    );
  if (group !== '') errors.push(...check(at.child('group'), group, isDns1123Subdomain(group)));
  errors.push(...check(at.child('version'), version, isDns1035Label(version)));
  errors.push(...checkPriority('groupPriorityMinimum', groupPriorityMinimum, 20_000));
  errors.push(...checkPriority('versionPriority', versionPriority, 1000));
  return [...errors, ...(spec.service === undefined ? localRules(spec) : remoteRules(spec))];
}

function checkPriority(name: string, value: number, highest: number): FieldError[] {
  if (value > 0 && value <= highest) return [];
  return [invalid(at.child(name), value, `must be positive and less than ${highest}`)];
}

function localRules({ caBundle = '', insecureSkipTLSVerify = false }: Spec): FieldError[] {
  const errors: FieldError[] = [];
  if (caBundle !== '') {
    const size = `${base64Size(caBundle)} bytes`;
    errors.push(invalid(at.child('caBundle'), size, 'local APIServices may not have a caBundle'));
  }
  if (insecureSkipTLSVerify)
    errors.push(
      invalid(
        at.child('insecureSkipTLSVerify'),
        true,
        'local APIServices may not have insecureSkipTLSVerify',
      ),
    );
  return errors;
}

function remoteRules({ service = {}, caBundle = '', insecureSkipTLSVerify }: Spec): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of ['namespace', 'name'] as const)
    if ((service[name] ?? '') === '') errors.push(required(at.child('service', name), ''));
  if (insecureSkipTLSVerify === true && caBundle !== '')
    errors.push(
      invalid(at.child('insecureSkipTLSVerify'), true, 'may not be true if caBundle is present'),
    );
  return errors;
}

export const apiServiceStatus: StatusSubresource<APIService> = {
  type: 'status',
  validateUpdate: ({ status }) =>
    (status?.conditions ?? []).flatMap((condition, index) =>
      checkChoice(field('status', 'conditions').index(index).child('status'), condition.status, [
        'True',
        'False',
        'Unknown',
      ]),
    ),
};
