// Who writes a policy or a binding must be allowed to read the params it names: what an expression sees, its
// messages can tell. A plugin, since the rules of kinds know no users.
// Source: kubernetes pkg/registry/admissionregistration/{validating,mutating}admissionpolicy{,binding}/authz.go.
import type { ParamKind, ParamRef } from '#kube/api/admissionregistration.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { field, forbidden } from '#kube/machinery/field.ts';
import { parseApiVersion } from '#kube/machinery/gvk.ts';
import { invalid } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../chain.ts';
import type { DynamicDeps } from '../dynamic/deps.ts';

type Deps = Pick<DynamicDeps, 'reader' | 'kinds' | 'authorize'>;

/** Not judged yet: the rules of the kinds come after this. */
type Policy = KubeObject & { readonly spec?: { readonly paramKind?: ParamKind } };
type Binding = KubeObject & {
  readonly spec?: { readonly policyName?: string; readonly paramRef?: ParamRef };
};

const policyOf: Readonly<Record<string, string | undefined>> = {
  validatingadmissionpolicybindings: 'validatingadmissionpolicies',
  mutatingadmissionpolicybindings: 'mutatingadmissionpolicies',
};
const policies = new Set(Object.values(policyOf));

export function paramAccess(deps: Deps): AdmissionPlugin {
  return {
    name: 'ParamAccess',
    handles: ({ operation, resource, subresource, user }) =>
      resource.group === 'admissionregistration.k8s.io' &&
      subresource === '' &&
      (operation === 'CREATE' || operation === 'UPDATE') &&
      !user.groups.includes('system:masters'),
    async validate(attributes) {
      const { resource } = attributes;
      if (policies.has(resource.resource)) return checkPolicy(deps, attributes);
      const plural = policyOf[resource.resource];
      if (plural !== undefined) await checkBinding(deps, attributes, plural);
    },
  };
}

function checkPolicy(deps: Deps, attributes: AdmissionAttributes): void {
  const policy = attributes.object as Policy;
  const old: Policy | undefined = attributes.oldObject;
  const paramKind = policy.spec?.paramKind;
  if (paramKind === undefined || deepEqual(paramKind, old?.spec?.paramKind)) return;
  if (mayGet(deps, attributes, paramKind, { name: '*', namespace: '*' })) return;
  const { kind = '', apiVersion = '' } = paramKind;
  throw refused(
    attributes,
    'paramKind',
    `must have "get" permission on all objects of the referenced paramKind (kind=${kind}, apiVersion=${apiVersion})`,
  );
}

async function checkBinding(
  deps: Deps,
  attributes: AdmissionAttributes,
  plural: string,
): Promise<void> {
  const binding = attributes.object as Binding;
  const old: Binding | undefined = attributes.oldObject;
  const { policyName = '', paramRef } = binding.spec ?? {};
  if (paramRef === undefined) return;
  const before = old?.spec;
  if (policyName === before?.policyName && deepEqual(paramRef, before.paramRef)) return;
  const resource = { ...attributes.resource, resource: plural };
  const policy: Policy | undefined = await deps.reader.get(resource, '', policyName);
  if (mayGet(deps, attributes, policy?.spec?.paramKind, paramRef)) return;
  throw refused(
    attributes,
    'paramRef',
    'does not have "get" permission on the object referenced by paramRef',
  );
}

/** Of a kind that nobody knows yet, only whoever may read all of its group; without one, all there is. */
function mayGet(
  { kinds, authorize }: Deps,
  { user }: AdmissionAttributes,
  paramKind: ParamKind | undefined,
  { name = '', namespace = '' }: Pick<ParamRef, 'name' | 'namespace'>,
): boolean {
  const { apiVersion = '', kind = '' } = paramKind ?? {};
  const { group, version } = parseApiVersion(apiVersion);
  const found = kinds.find({ group, version, kind });
  const asked = { verb: 'get', subresource: '', namespace, name };
  return authorize(user, {
    ...asked,
    group: paramKind === undefined ? '*' : group,
    resource: found?.resource ?? '*',
  }).allowed;
}

function refused({ kind, name, user }: AdmissionAttributes, at: string, why: string) {
  const error = forbidden(field('spec', at), `user ${JSON.stringify(user.name)} ${why}`);
  return invalid(kind, name, [error]);
}
