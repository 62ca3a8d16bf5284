// Who may what in a cluster nobody has changed yet: all bootstrap roles and their bindings.
// Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/{policy,namespace_policy}.go.
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
  Subject,
} from '#kube/api/rbac.ts';
import { lapsedGroup } from '#kube/machinery/lapsed-nodes.ts';
import { backupBucketName, backupKeyName } from '#kube/machinery/cluster-backup.ts';
import { controllerRules } from './controller-roles.ts';
import { clusterRoles } from './roles.ts';
import { apiGroup, apiVersion, bootstrapMetadata, clusterRole, read, rule } from './vocabulary.ts';

const system = 'kube-system';

function user(name: string): Subject {
  return { apiGroup, kind: 'User', name };
}

function group(name: string): Subject {
  return { apiGroup, kind: 'Group', name };
}

function account(name: string): Subject {
  return { kind: 'ServiceAccount', name, namespace: system };
}

function bound(name: string, ...subjects: Subject[]): ClusterRoleBinding {
  return boundTo(name, name, ...subjects);
}

function boundTo(roleName: string, name: string, ...subjects: Subject[]): ClusterRoleBinding {
  const roleRef = { apiGroup, kind: 'ClusterRole', name: roleName };
  const metadata = bootstrapMetadata(name);
  return { apiVersion, kind: 'ClusterRoleBinding', metadata, roleRef, subjects };
}

const csr = 'system:certificates.k8s.io:certificatesigningrequests';
/** What the token of a machine that is to join has as extra group. As kubeadm's, in our name. */
const joining = group('system:bootstrappers:flotilla:machines');
const joined = group('system:nodes');
const lapsed = group(lapsedGroup);

const everybody = group('system:authenticated');

const clusterRoleBindings: readonly ClusterRoleBinding[] = [
  bound('cluster-admin', group('system:masters')),
  bound('system:monitoring', group('system:monitoring')),
  bound('system:discovery', everybody),
  bound('system:basic-user', everybody),
  bound('system:public-info-viewer', everybody, group('system:unauthenticated')),
  bound('system:node-proxier', user('system:kube-proxy')),
  bound('system:kube-controller-manager', user('system:kube-controller-manager')),
  bound('system:kube-dns', account('kube-dns')),
  bound('system:kube-scheduler', user('system:kube-scheduler')),
  bound('system:volume-scheduler', user('system:kube-scheduler')),
  bound('system:node'),
  bound('system:service-account-issuer-discovery', group('system:serviceaccounts')),
  boundTo('system:node-bootstrapper', 'flotilla:join', joining),
  boundTo('system:node-bootstrapper', 'flotilla:lapsed-renewal', lapsed),
  bound('flotilla:machine-package', joining, joined),
  bound('flotilla:control-plane-machine', joined),
  boundTo(`${csr}:nodeclient`, 'flotilla:join-approval', joining),
  boundTo(`${csr}:selfnodeclient`, 'flotilla:client-renewal', joined, lapsed),
  boundTo(`${csr}:selfnodeserver`, 'flotilla:serving-approval', joined),
  ...Object.keys(controllerRules).map((name) => bound(`system:controller:${name}`, account(name))),
];

function role(namespace: string, name: string, ...rules: PolicyRule[]): Role {
  return { apiVersion, kind: 'Role', metadata: { ...bootstrapMetadata(name), namespace }, rules };
}

function boundIn(namespace: string, name: string, ...subjects: Subject[]): RoleBinding {
  const roleRef = { apiGroup, kind: 'Role', name };
  const metadata = { ...bootstrapMetadata(name), namespace };
  return { apiVersion, kind: 'RoleBinding', metadata, roleRef, subjects };
}

const readMap = (name: string): PolicyRule => rule('get', 'core', 'configmaps', name);

const roles: readonly Role[] = [
  role(system, 'extension-apiserver-authentication-reader', {
    ...readMap('extension-apiserver-authentication'),
    verbs: read.split(' '),
  }),
  role(system, 'system:controller:bootstrap-signer', rule(read, 'core', 'secrets')),
  role(system, 'system:controller:token-cleaner', rule(`${read} delete`, 'core', 'secrets')),
  // Differs: a token for one machine is spent by the request that it is approved for.
  role(system, 'flotilla:token-spender', rule('get update', 'core', 'secrets')),
  role(
    system,
    'flotilla:backup-key',
    rule('get update', 'core', 'secrets', backupKeyName),
    rule('get', 'core', 'secrets', backupBucketName),
    rule('create', 'core', 'secrets'),
  ),
  role(
    'kube-public',
    'system:controller:bootstrap-signer',
    rule(read, 'core', 'configmaps'),
    rule('update', 'core', 'configmaps', 'cluster-info'),
    rule('create patch update', 'core', 'events'),
  ),
];

const manager = user('system:kube-controller-manager');
const scheduler = user('system:kube-scheduler');

const roleBindings: readonly RoleBinding[] = [
  boundIn(system, 'extension-apiserver-authentication-reader', manager, scheduler),
  boundIn(system, 'system:controller:bootstrap-signer', account('bootstrap-signer')),
  boundIn('kube-public', 'system:controller:bootstrap-signer', account('bootstrap-signer')),
  boundIn(system, 'system:controller:token-cleaner', account('token-cleaner')),
  boundIn(system, 'flotilla:token-spender', account('certificate-controller')),
  boundIn(system, 'flotilla:backup-key', account('cluster-backup')),
];

export type RbacObject = ClusterRole | ClusterRoleBinding | Role | RoleBinding;

export const bootstrapRbac: readonly RbacObject[] = [
  ...clusterRoles,
  ...Object.entries(controllerRules).map(([name, rules]) =>
    clusterRole(`system:controller:${name}`, rules),
  ),
  ...clusterRoleBindings,
  ...roles,
  ...roleBindings,
];
