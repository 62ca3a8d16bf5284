// Who may what in the resource table: roles, certificate requests, admission, flow control.
import type {
  MutatingWebhookConfiguration,
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
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from '#kube/api/rbac.ts';
import {
  bindingColumns,
  certificateSigningRequestColumns,
  flowSchemaColumns,
  mutatingAdmissionPolicyColumns,
  policyBindingColumns,
  priorityLevelColumns,
  roleColumns,
  validatingAdmissionPolicyColumns,
  webhookColumns,
} from '../columns/access.ts';
import type { ResourceDefinition, Review } from '../resource.ts';
import {
  validatingAdmissionPolicyBindingStrategy,
  validatingAdmissionPolicyStatus,
  validatingAdmissionPolicyStrategy,
} from '../strategies/access/admission-policies.ts';
import {
  certificateApproval,
  certificateSigningRequestStrategy,
  certificateStatus,
} from '../strategies/access/certificates.ts';
import {
  flowSchemaStatus,
  flowSchemaStrategy,
  priorityLevelStatus,
  priorityLevelStrategy,
} from '../strategies/access/flow-control.ts';
import {
  mutatingAdmissionPolicyBindingStrategy,
  mutatingAdmissionPolicyStrategy,
} from '../strategies/access/mutating-policies.ts';
import {
  clusterRoleBindingStrategy,
  clusterRoleStrategy,
  roleBindingStrategy,
  roleStrategy,
} from '../strategies/access/rbac.ts';
import {
  mutatingWebhookStrategy,
  validatingWebhookStrategy,
} from '../strategies/access/webhooks.ts';
import { generic, named } from './define.ts';

function rbac(kind: string, plural: string, { namespaced = true } = {}) {
  return { ...named('rbac.authorization.k8s.io', 'rbac/v1', kind, plural), namespaced };
}

const roles: ResourceDefinition<Role> = {
  ...rbac('Role', 'roles'),
  strategy: roleStrategy,
  columns: roleColumns,
};

const roleBindings: ResourceDefinition<RoleBinding> = {
  ...rbac('RoleBinding', 'rolebindings'),
  strategy: roleBindingStrategy,
  columns: bindingColumns,
};

const clusterRoles: ResourceDefinition<ClusterRole> = {
  ...rbac('ClusterRole', 'clusterroles', { namespaced: false }),
  strategy: clusterRoleStrategy,
  columns: roleColumns,
};

const clusterRoleBindings: ResourceDefinition<ClusterRoleBinding> = {
  ...rbac('ClusterRoleBinding', 'clusterrolebindings', { namespaced: false }),
  strategy: clusterRoleBindingStrategy,
  columns: bindingColumns,
};

const certificateSigningRequests: ResourceDefinition<CertificateSigningRequest> = {
  ...named(
    'certificates.k8s.io',
    'certificates/v1',
    'CertificateSigningRequest',
    'certificatesigningrequests',
  ),
  namespaced: false,
  shortNames: ['csr'],
  strategy: certificateSigningRequestStrategy,
  columns: certificateSigningRequestColumns,
  fieldSelectors: { 'spec.signerName': ({ spec }) => spec.signerName },
  subresources: { status: certificateStatus, approval: certificateApproval },
};

/** Nothing but `create`, and nothing is stored. */
function review(group: string, kind: string, how: Review, { namespaced = false } = {}) {
  const made: ResourceDefinition = {
    ...named(`${group}.k8s.io`, `${group}/v1`, kind, `${kind.toLowerCase()}s`),
    namespaced,
    verbs: ['create'],
    review: how,
    strategy: { validate: () => [] },
    columns: [],
  };
  return made;
}

const reviews: readonly ResourceDefinition[] = [
  review('authentication', 'SelfSubjectReview', 'self-subject'),
  review('authentication', 'TokenReview', 'token'),
  review('authorization', 'LocalSubjectAccessReview', 'local-subject-access', {
    namespaced: true,
  }),
  review('authorization', 'SelfSubjectAccessReview', 'self-subject-access'),
  review('authorization', 'SelfSubjectRulesReview', 'self-subject-rules'),
  review('authorization', 'SubjectAccessReview', 'subject-access'),
];

function admission(kind: string, plural: string, version = 'v1') {
  const group = 'admissionregistration.k8s.io';
  return {
    ...named(group, `admissionregistration/${version}`, kind, plural),
    namespaced: false,
    // Whoever has made one relies on it in the next request.
    awaitsCache: true,
  };
}

const mutatingWebhooks: ResourceDefinition<MutatingWebhookConfiguration> = {
  ...admission('MutatingWebhookConfiguration', 'mutatingwebhookconfigurations'),
  categories: ['api-extensions'],
  strategy: mutatingWebhookStrategy,
  columns: webhookColumns,
};

const validatingWebhooks: ResourceDefinition<ValidatingWebhookConfiguration> = {
  ...admission('ValidatingWebhookConfiguration', 'validatingwebhookconfigurations'),
  categories: ['api-extensions'],
  strategy: validatingWebhookStrategy,
  columns: webhookColumns,
};

const validatingAdmissionPolicies: ResourceDefinition<ValidatingAdmissionPolicy> = {
  ...admission('ValidatingAdmissionPolicy', 'validatingadmissionpolicies'),
  categories: ['api-extensions'],
  strategy: validatingAdmissionPolicyStrategy,
  columns: validatingAdmissionPolicyColumns,
  subresources: { status: validatingAdmissionPolicyStatus },
};

const policyBindings: ResourceDefinition<ValidatingAdmissionPolicyBinding> = {
  ...admission('ValidatingAdmissionPolicyBinding', 'validatingadmissionpolicybindings'),
  categories: ['api-extensions'],
  strategy: validatingAdmissionPolicyBindingStrategy,
  columns: policyBindingColumns,
};

const mutatingAdmissionPolicies: ResourceDefinition<MutatingAdmissionPolicy> = {
  ...admission('MutatingAdmissionPolicy', 'mutatingadmissionpolicies', 'v1beta1'),
  categories: ['api-extensions'],
  strategy: mutatingAdmissionPolicyStrategy,
  columns: mutatingAdmissionPolicyColumns,
};

const mutatingBindings: ResourceDefinition<MutatingAdmissionPolicyBinding> = {
  ...admission('MutatingAdmissionPolicyBinding', 'mutatingadmissionpolicybindings', 'v1beta1'),
  categories: ['api-extensions'],
  strategy: mutatingAdmissionPolicyBindingStrategy,
  columns: policyBindingColumns,
};

function flowControl(kind: string, plural: string) {
  const group = 'flowcontrol.apiserver.k8s.io';
  return { ...named(group, 'flowcontrol/v1', kind, plural), namespaced: false };
}

const flowSchemas: ResourceDefinition<FlowSchema> = {
  ...flowControl('FlowSchema', 'flowschemas'),
  strategy: flowSchemaStrategy,
  columns: flowSchemaColumns,
  subresources: { status: flowSchemaStatus },
};

const priorityLevels: ResourceDefinition<PriorityLevelConfiguration> = {
  ...flowControl('PriorityLevelConfiguration', 'prioritylevelconfigurations'),
  strategy: priorityLevelStrategy,
  columns: priorityLevelColumns,
  subresources: { status: priorityLevelStatus },
};

export const accessResources: readonly ResourceDefinition[] = [
  generic(roles),
  generic(roleBindings),
  generic(clusterRoles),
  generic(clusterRoleBindings),
  generic(certificateSigningRequests),
  generic(mutatingWebhooks),
  generic(validatingWebhooks),
  generic(validatingAdmissionPolicies),
  generic(policyBindings),
  generic(mutatingAdmissionPolicies),
  generic(mutatingBindings),
  generic(flowSchemas),
  generic(priorityLevels),
  ...reviews,
];
