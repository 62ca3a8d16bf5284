// Columns of roles and bindings, certificate requests, admission and flow control.
// Source: kubernetes pkg/printers/internalversion/printers.go; roles have the default columns of
// tableconvertor.go.
import type {
  MutatingWebhookConfiguration,
  ParamKind,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingWebhookConfiguration,
} from '#kube/api/admissionregistration.ts';
import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
} from '#kube/api/admissionregistration-v1beta1.ts';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/flowcontrol.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { ClusterRoleBinding, RoleBinding } from '#kube/api/rbac.ts';
import { formatLabelSelector } from '#kube/machinery/selector.ts';
import type { Column } from '../resource.ts';
import { humanDuration } from './age.ts';
import {
  ageColumn,
  count,
  createdAtColumn,
  nameColumn,
  orNone,
  textColumn,
  wide,
} from './cells.ts';

export const roleColumns: readonly Column[] = [nameColumn, createdAtColumn];

type Binding = (RoleBinding | ClusterRoleBinding) & KubeObject;

export const bindingColumns: readonly Column<Binding>[] = [
  nameColumn,
  textColumn('Role', 'The role that is given.', ({ roleRef: { kind, name } }) => `${kind}/${name}`),
  ageColumn,
  wide(textColumn('Users', 'Users who have it.', (binding) => subjects(binding, 'User'))),
  wide(textColumn('Groups', 'Groups that have it.', (binding) => subjects(binding, 'Group'))),
  wide(
    textColumn('ServiceAccounts', 'Service accounts that have it.', (binding) =>
      subjects(binding, 'ServiceAccount'),
    ),
  ),
];

function subjects({ subjects: all = [] }: Binding, wanted: string): string {
  return all
    .filter(({ kind }) => kind === wanted)
    .map(({ name, namespace }) =>
      wanted === 'ServiceAccount' ? `${namespace ?? ''}/${name}` : name,
    )
    .join(', ');
}

export const certificateSigningRequestColumns: readonly Column<CertificateSigningRequest>[] = [
  nameColumn,
  ageColumn,
  textColumn('SignerName', 'Who is to sign.', ({ spec }) => orNone(spec.signerName)),
  textColumn('Requestor', 'Who asks.', ({ spec }) => spec.username ?? ''),
  textColumn('RequestedDuration', 'For how long.', ({ spec: { expirationSeconds } }) =>
    expirationSeconds === undefined ? '<none>' : humanDuration(expirationSeconds * 1000),
  ),
  textColumn('Condition', 'What became of it.', condition),
];

function condition({ status }: CertificateSigningRequest): string {
  const has = (type: string) => (status?.conditions ?? []).some((entry) => entry.type === type);
  const decision = has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending';
  const isIssued = (status?.certificate ?? '') !== '';
  return `${decision}${has('Failed') ? ',Failed' : ''}${isIssued ? ',Issued' : ''}`;
}

type Webhooks = MutatingWebhookConfiguration | ValidatingWebhookConfiguration;

export const webhookColumns: readonly Column<Webhooks>[] = [
  nameColumn,
  count('Webhooks', 'Webhooks in the configuration.', ({ webhooks }) => webhooks?.length),
  ageColumn,
];

export const validatingAdmissionPolicyColumns: readonly Column<ValidatingAdmissionPolicy>[] = [
  nameColumn,
  count('Validations', 'Rules in the policy.', ({ spec }) => spec.validations?.length),
  textColumn('ParamKind', 'Kind of its parameters.', ({ spec }) => paramKindCell(spec)),
  ageColumn,
];

export const mutatingAdmissionPolicyColumns: readonly Column<MutatingAdmissionPolicy>[] = [
  nameColumn,
  count('Mutations', 'Mutations in the policy.', ({ spec }) => spec.mutations?.length),
  textColumn('ParamKind', 'Kind of its parameters.', ({ spec }) => paramKindCell(spec)),
  ageColumn,
];

function paramKindCell({ paramKind }: { readonly paramKind?: ParamKind }): string {
  return paramKind === undefined
    ? '<unset>'
    : `${paramKind.apiVersion ?? ''}/${paramKind.kind ?? ''}`;
}

type PolicyBinding = ValidatingAdmissionPolicyBinding | MutatingAdmissionPolicyBinding;

export const policyBindingColumns: readonly Column<PolicyBinding>[] = [
  nameColumn,
  textColumn('PolicyName', 'The policy.', ({ spec }) => spec.policyName ?? ''),
  textColumn('ParamRef', 'Its parameters.', ({ spec: { paramRef } }) => {
    const { name = '', namespace = '', selector } = paramRef ?? {};
    if (name !== '') return `${namespace === '' ? '*' : namespace}/${name}`;
    return selector === undefined ? '<unset>' : formatLabelSelector(selector);
  }),
  ageColumn,
];

export const flowSchemaColumns: readonly Column<FlowSchema>[] = [
  nameColumn,
  textColumn(
    'PriorityLevel',
    'Level of its requests.',
    ({ spec }) => spec.priorityLevelConfiguration.name,
  ),
  textColumn(
    'MatchingPrecedence',
    'Lower ones are looked at first.',
    ({ spec }) => spec.matchingPrecedence ?? 0,
  ),
  textColumn('DistinguisherMethod', 'What makes a flow.', ({ spec }) =>
    orNone(spec.distinguisherMethod?.type),
  ),
  ageColumn,
  textColumn('MissingPL', 'Whether its level is missing.', ({ status }) => {
    const dangling = status?.conditions?.find(({ type }) => type === 'Dangling');
    return dangling === undefined ? '?' : (dangling.status ?? '');
  }),
];

export const priorityLevelColumns: readonly Column<PriorityLevelConfiguration>[] = [
  nameColumn,
  textColumn('Type', 'Whether it is limited.', ({ spec }) => spec.type),
  textColumn(
    'NominalConcurrencyShares',
    'Its share.',
    ({ spec }) => spec.limited?.nominalConcurrencyShares ?? '<none>',
  ),
  textColumn('Queues', 'Queues it has.', (level) => queuing(level)?.queues ?? '<none>'),
  textColumn(
    'HandSize',
    'Queues a flow can be in.',
    (level) => queuing(level)?.handSize ?? '<none>',
  ),
  textColumn(
    'QueueLengthLimit',
    'Requests in a queue at most.',
    (level) => queuing(level)?.queueLengthLimit ?? '<none>',
  ),
  ageColumn,
];

function queuing({ spec }: PriorityLevelConfiguration) {
  return spec.limited?.limitResponse?.queuing;
}
