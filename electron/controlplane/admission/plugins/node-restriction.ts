// NodeRestriction: an agent changes its own node, its lease and the pods bound to it, and nothing
// that would draw other pods to it.
// Source: kubernetes plugin/pkg/admission/noderestriction/admission.go.
import type { TokenRequest } from '#kube/api/authentication.ts';
import type { ConfigMap, Node, PersistentVolume, Pod } from '#kube/api/core.ts';
import { deepEqual, isObject } from '#kube/machinery/equality.ts';
import { isNodeReady } from '#kube/machinery/node-operations.ts';
import { removedAs, removedMachinesRef } from '#kube/machinery/removed-machines.ts';
import { forbidden, notFound } from '#kube/machinery/status.ts';
import type { UserInfo } from '../../apiserver/http.ts';
import type { AdmissionAttributes, AdmissionPlugin, ObjectReader } from '../chain.ts';
import { problemOfVolumeWrite } from './node-volumes.ts';

const userPrefix = 'system:node:';
const pods = { group: '', version: 'v1', resource: 'pods' };
const configMaps = { group: '', version: 'v1', resource: 'configmaps' };
const leaseNamespace = 'kube-node-lease';
const mirrorAnnotation = 'kubernetes.io/config.mirror';

export function nodeRestriction(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'NodeRestriction',
    handles: ({ operation, user }) => operation !== 'CONNECT' && isNode(user),
    async validate(attributes) {
      const nodeName = attributes.user.name.slice(userPrefix.length);
      switch (`${attributes.resource.group}/${attributes.resource.resource}`) {
        case '/pods':
          return checkPod(nodeName, attributes, reader);
        case '/nodes':
          checkNode(nodeName, attributes);
          return checkMachine(nodeName, attributes, reader);
        case '/persistentvolumes':
          return checkVolume(nodeName, attributes);
        case '/serviceaccounts':
          return checkToken(nodeName, attributes, reader);
        case 'coordination.k8s.io/leases':
          return checkLease(nodeName, attributes);
        default:
      }
    },
  };
}

function isNode({ name, groups }: UserInfo): boolean {
  return groups.includes('system:nodes') && name.startsWith(userPrefix);
}

function refuse({ resource, name }: AdmissionAttributes, why: string): never {
  throw forbidden(resource, name, why);
}

async function checkPod(
  nodeName: string,
  attributes: AdmissionAttributes,
  reader: ObjectReader,
): Promise<void> {
  const { operation, subresource } = attributes;
  switch (subresource) {
    case '':
      if (operation === 'CREATE') return checkPodCreate(nodeName, attributes);
      if (operation === 'DELETE') return checkPodDelete(nodeName, attributes, reader);
      return refuse(
        attributes,
        `unexpected operation "${operation}", node "${nodeName}" can only create and delete mirror pods`,
      );
    case 'status':
      return checkPodStatus(nodeName, attributes);
    case 'eviction': {
      const pod = await readPod(attributes, reader);
      if (pod.spec.nodeName !== nodeName)
        refuse(attributes, `node ${nodeName} can only evict pods with spec.nodeName set to itself`);
      return;
    }
    default:
      return refuse(
        attributes,
        `unexpected pod subresource "${subresource}", only 'status' and 'eviction' are allowed`,
      );
  }
}

function checkPodCreate(nodeName: string, attributes: AdmissionAttributes): void {
  const { metadata, spec } = attributes.object as Pod;
  if (metadata.annotations?.[mirrorAnnotation] === undefined)
    refuse(
      attributes,
      `pod does not have "${mirrorAnnotation}" annotation, node "${nodeName}" can only create mirror pods`,
    );
  if (spec.nodeName !== nodeName)
    refuse(attributes, `node "${nodeName}" can only create pods with spec.nodeName set to itself`);
  const owners = metadata.ownerReferences ?? [];
  const [owner] = owners;
  const isOwn =
    owners.length === 1 &&
    owner?.apiVersion === 'v1' &&
    owner.kind === 'Node' &&
    owner.name === nodeName;
  if (!isOwn)
    refuse(
      attributes,
      `node "${nodeName}" can only create pods with an owner reference set to itself`,
    );
  if ((spec.serviceAccountName ?? '') !== '')
    refuse(attributes, `node "${nodeName}" can not create pods that reference a service account`);
  // A node may read what its pods refer to: it must not choose that itself.
  const { volumes, containers, initContainers, ephemeralContainers, imagePullSecrets } = spec;
  const parts = { volumes, containers, initContainers, ephemeralContainers, imagePullSecrets };
  for (const [what, keys] of references)
    if (hasKey(parts, keys))
      refuse(attributes, `node "${nodeName}" can not create pods that reference ${what}`);
}

const references: readonly (readonly [what: string, keys: RegExp])[] = [
  ['secrets', /secret/i],
  ['configmaps', /^configMap/],
  ['persistentvolumeclaims', /^(persistentVolumeClaim|ephemeral)$/],
];

/** True when a key somewhere within matches and holds something. */
function hasKey(value: unknown, keys: RegExp): boolean {
  if (Array.isArray(value)) return value.some((item) => hasKey(item, keys));
  if (!isObject(value)) return false;
  return Object.entries(value).some(
    ([key, child]) => child !== undefined && (keys.test(key) || hasKey(child, keys)),
  );
}

async function checkPodDelete(
  nodeName: string,
  attributes: AdmissionAttributes,
  reader: ObjectReader,
): Promise<void> {
  const pod = (attributes.oldObject as Pod | undefined) ?? (await readPod(attributes, reader));
  if (pod.spec.nodeName !== nodeName)
    refuse(attributes, `node "${nodeName}" can only delete pods with spec.nodeName set to itself`);
}

async function readPod(
  { namespace, name }: AdmissionAttributes,
  reader: ObjectReader,
): Promise<Pod> {
  const found = await reader.get(pods, namespace, name);
  if (found === undefined) throw notFound(pods, name);
  return found as Pod;
}

function checkPodStatus(nodeName: string, attributes: AdmissionAttributes): void {
  const next = attributes.object as Pod;
  const old = attributes.oldObject as Pod | undefined;
  if (attributes.operation !== 'UPDATE' || old === undefined)
    return refuse(attributes, `unexpected operation "${attributes.operation}"`);
  if (old.spec.nodeName !== nodeName)
    refuse(
      attributes,
      `node "${nodeName}" can only update pod status for pods with spec.nodeName set to itself`,
    );
  if (!deepEqual(old.metadata.labels ?? {}, next.metadata.labels ?? {}))
    refuse(attributes, `node "${nodeName}" cannot update labels through pod status`);
}

function checkVolume(nodeName: string, attributes: AdmissionAttributes): void {
  const [next, old] = [attributes.object, attributes.oldObject] as (PersistentVolume | undefined)[];
  if (next === undefined || old === undefined)
    return refuse(attributes, `unexpected operation "${attributes.operation}"`);
  const problem = problemOfVolumeWrite(nodeName, old, next);
  if (problem !== undefined) refuse(attributes, problem);
}

/** A token for a pod of its own, and for that very pod. */
async function checkToken(
  nodeName: string,
  attributes: AdmissionAttributes,
  reader: ObjectReader,
): Promise<void> {
  if (attributes.operation !== 'CREATE' || attributes.subresource !== 'token') return;
  const { spec } = attributes.object as unknown as TokenRequest;
  const { apiVersion, kind, name = '', uid = '' } = spec.boundObjectRef ?? {};
  if (apiVersion !== 'v1' || kind !== 'Pod')
    refuse(attributes, 'node requested token not bound to a pod');
  if (uid === '') refuse(attributes, 'node requested token with a pod binding without a uid');
  const { namespace } = attributes;
  const pod = (await reader.get(pods, namespace, name)) as Pod | undefined;
  if (pod === undefined) throw notFound(pods, name);
  if (pod.metadata.uid !== uid)
    refuse(
      attributes,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  if (pod.spec.nodeName !== nodeName)
    refuse(attributes, 'node requested token bound to a pod scheduled on a different node');
}

function checkNode(nodeName: string, attributes: AdmissionAttributes): void {
  const { operation, object } = attributes;
  const name = attributes.name === '' ? (object?.metadata.name ?? '') : attributes.name;
  if (name !== nodeName)
    refuse(attributes, `node "${nodeName}" is not allowed to modify node "${name}"`);
  if (operation === 'DELETE') return;
  const next = object as Node;
  const old = attributes.oldObject as Node | undefined;
  const labels = forbiddenLabels(next.metadata.labels ?? {}, old?.metadata.labels ?? {});
  if (old === undefined) {
    if (labels.length > 0)
      refuse(
        attributes,
        `node "${nodeName}" is not allowed to set the following labels: ${labels.join(', ')}`,
      );
    return;
  }
  if (!deepEqual(next.spec?.taints ?? [], old.spec?.taints ?? []))
    refuse(attributes, `node "${nodeName}" is not allowed to modify taints`);
  if (labels.length > 0)
    refuse(attributes, `is not allowed to modify labels: ${labels.join(', ')}`);
}

/**
 * Differs: Kubernetes does not know machines. One that was taken out while it was gone is no node until it is added again,
 * and no machine takes another's Node while that one is there.
 */
async function checkMachine(
  nodeName: string,
  attributes: AdmissionAttributes,
  reader: ObjectReader,
): Promise<void> {
  const next = attributes.object as Node | undefined;
  const old = attributes.oldObject as Node | undefined;
  const machineId = next?.status?.nodeInfo?.machineID ?? '';
  const before = old?.status?.nodeInfo?.machineID ?? '';
  if (machineId === '' || machineId === before || attributes.operation === 'DELETE') return;
  if (old !== undefined && before !== '' && isNodeReady(old))
    refuse(
      attributes,
      `the node ${nodeName} is another machine, which is there: this one's disk is a copy, or another took its place. Take it out: ${removeCommand}`,
    );
  const { namespace, name } = removedMachinesRef;
  const found = (await reader.get(configMaps, namespace, name)) as ConfigMap | undefined;
  const removed = removedAs(found, nodeName).find((one) => one.machineId === machineId);
  if (removed !== undefined)
    refuse(
      attributes,
      `this machine was taken out of the cluster at ${removed.at} while it was gone: clear away what is left of it (${removeCommand}), or add it again`,
    );
}

const removeCommand = 'sudo /var/lib/flotilla/current/programs/remove';

/** Labels in Kubernetes' name spaces that an agent may set. */
const kubeletLabels = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
  'node.kubernetes.io/instance-type',
  'beta.kubernetes.io/instance-type',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/os',
]);
const kubeletNamespaces = ['kubelet.kubernetes.io', 'node.kubernetes.io'];
const reservedNamespaces = ['kubernetes.io', 'k8s.io'];

type Labels = Readonly<Record<string, string>>;

/** Changed labels that are not the agent's to change, sorted. */
function forbiddenLabels(next: Labels, old: Labels): string[] {
  const changed = new Set([...Object.keys(next), ...Object.keys(old)]);
  return [...changed]
    .filter((key) => next[key] !== old[key])
    .filter((key) => {
      const [prefix = ''] = key.includes('/') ? key.split('/') : [];
      if (isWithin(prefix, ['node-restriction.kubernetes.io'])) return true;
      if (!isWithin(prefix, reservedNamespaces)) return false;
      return !kubeletLabels.has(key) && !isWithin(prefix, kubeletNamespaces);
    })
    .toSorted();
}

function isWithin(prefix: string, domains: readonly string[]): boolean {
  return domains.some((domain) => prefix === domain || prefix.endsWith(`.${domain}`));
}

function checkLease(nodeName: string, attributes: AdmissionAttributes): void {
  const { namespace, object } = attributes;
  if (namespace !== leaseNamespace)
    refuse(attributes, `can only access leases in the "${leaseNamespace}" system namespace`);
  const name = attributes.name === '' ? (object?.metadata.name ?? '') : attributes.name;
  if (name !== nodeName)
    refuse(attributes, 'can only access node lease with the same name as the requesting node');
}
