// What a node may do: write its own Node, Lease, events and its pods' status; read its own pods and
// the Secrets and ConfigMaps they refer to; read Services and EndpointSlices to forward traffic,
// and Ingresses with their TLS Secrets to serve them.
// Which pod, node or lease a write concerns is checked by the NodeRestriction admission plugin,
// which sees the object. Wording and order of checks as Kubernetes'.
// Source: kubernetes plugin/pkg/auth/authorizer/node/node_authorizer.go, plugin/pkg/auth/
// authorizer/rbac/bootstrappolicy/policy.go (NodeRules).
import type { Pod, PodSpec } from '#kube/api/core.ts';
import type { AuthorizationAttributes, Decision } from './authorizer.ts';
import type { UserInfo } from '../http.ts';
import { requiredFieldValue } from '../request-info.ts';
import { isMountedWith, mayUseVolume, usesClaim, type NodeVolumes } from './node-volumes.ts';

/** What runs on a node, from an informer's index. */
export interface NodePods {
  podsOnNode(nodeName: string): readonly Pod[];
  /** Left out: nodes have to do with none. */
  readonly nodeVolumes?: NodeVolumes;
  /** Whether an Ingress that nodes serve wants this Secret for TLS. */
  readonly isIngressSecret?: (namespace: string, name: string) => boolean;
}

/** Undefined: not a node. '' is a member of the nodes whose name names none. */
export function nodeNameOf(user: UserInfo): string | undefined {
  const prefix = 'system:node:';
  if (!user.groups.includes('system:nodes') || !user.name.startsWith(prefix)) return undefined;
  return user.name.slice(prefix.length);
}

const allow: Decision = { allowed: true, reason: '' };

export function authorizeNode(
  nodeName: string,
  attributes: AuthorizationAttributes,
  pods: NodePods,
): Decision {
  if (nodeName === '') return refuse(`unknown node for user "${attributes.user.name}"`);
  if (!attributes.isResourceRequest) return refuse();
  switch (`${attributes.resource}.${attributes.group}`) {
    case 'secrets.':
    case 'configmaps.':
      return authorizeReferenced(nodeName, attributes, pods);
    case 'serviceaccounts.':
      return authorizeToken(nodeName, attributes, pods);
    case 'persistentvolumeclaims.':
      return isVerb(attributes, '', ['get']) &&
        usesClaim(pods.podsOnNode(nodeName), attributes.namespace, attributes.name)
        ? allow
        : refuse(noRelationship(nodeName));
    case 'persistentvolumes.':
      return pods.nodeVolumes !== undefined &&
        mayUseVolume(nodeName, attributes, pods.podsOnNode(nodeName), pods.nodeVolumes)
        ? allow
        : refuse(noRelationship(nodeName));
    case 'pods.':
      return authorizePod(nodeName, attributes, pods);
    case 'nodes.':
      return authorizeOwnNode(nodeName, attributes);
    case 'leases.coordination.k8s.io':
      return authorizeLease(nodeName, attributes);
    case 'services.':
    // Differs: here nodes serve Ingresses.
    case 'ingresses.networking.k8s.io':
    case 'ingressclasses.networking.k8s.io':
    // Differs: and keep to NetworkPolicies.
    case 'networkpolicies.networking.k8s.io':
    case 'endpointslices.discovery.k8s.io':
    case 'runtimeclasses.node.k8s.io':
      return isVerb(attributes, '', ['get', 'list', 'watch']) ? allow : refuse();
    case 'events.':
      return isVerb(attributes, '', ['create', 'update', 'patch']) ? allow : refuse();
    case 'tokenreviews.authentication.k8s.io':
    case 'subjectaccessreviews.authorization.k8s.io':
    case 'localsubjectaccessreviews.authorization.k8s.io':
      // Who asks the agent for logs or a shell, and whether they may.
      return isVerb(attributes, '', ['create']) ? allow : refuse();
    case 'certificatesigningrequests.certificates.k8s.io':
      return isVerb(attributes, '', ['create', 'get', 'list', 'watch']) ? allow : refuse();
    case 'namespaces.':
      // Differs: NetworkPolicies select by their labels; and the uid of kube-system is the cluster's identity,
      // which an agent's containers carry.
      return isVerb(attributes, '', ['list', 'watch']) ||
        (isVerb(attributes, '', ['get']) && attributes.name === 'kube-system')
        ? allow
        : refuse();
    default:
      return refuse();
  }
}

function authorizeReferenced(
  nodeName: string,
  attributes: AuthorizationAttributes,
  pods: NodePods,
): Decision {
  if (!['get', 'list', 'watch'].includes(attributes.verb))
    return refuse('can only read resources of this type');
  if (attributes.subresource !== '') return refuse('cannot read subresource');
  if (attributes.namespace === '') return refuse('can only read namespaced object of this type');
  if (attributes.name === '') return refuse('No Object name found');
  const kind = attributes.resource === 'secrets' ? 'secrets' : 'configMaps';
  const isReferenced = pods
    .podsOnNode(nodeName)
    .some(
      (pod) =>
        pod.metadata.namespace === attributes.namespace &&
        references(pod.spec)[kind].has(attributes.name),
    );
  const isOfVolume =
    kind === 'secrets' &&
    pods.nodeVolumes !== undefined &&
    isMountedWith(pods.podsOnNode(nodeName), pods.nodeVolumes, attributes);
  const isForTls =
    kind === 'secrets' && pods.isIngressSecret?.(attributes.namespace, attributes.name) === true;
  const isRelated = isReferenced || isOfVolume || isForTls;
  return isRelated ? allow : refuse(noRelationship(nodeName));
}

/** Tokens of the accounts that its pods run as; NodeRestriction sees which pod a token is bound to. */
function authorizeToken(
  nodeName: string,
  attributes: AuthorizationAttributes,
  pods: NodePods,
): Decision {
  if (!isVerb(attributes, 'token', ['create'])) return refuse('can only create tokens');
  const { namespace, name } = attributes;
  if (name === '') return refuse('No Object name found');
  const isUsed = pods
    .podsOnNode(nodeName)
    .some(
      ({ metadata, spec }) => metadata.namespace === namespace && spec.serviceAccountName === name,
    );
  return isUsed ? allow : refuse(noRelationship(nodeName));
}

function authorizePod(
  nodeName: string,
  attributes: AuthorizationAttributes,
  pods: NodePods,
): Decision {
  if (isVerb(attributes, 'status', ['update', 'patch'])) return allow;
  if (isVerb(attributes, 'eviction', ['create'])) return allow;
  if (isVerb(attributes, '', ['create', 'delete'])) return allow;
  if (!isVerb(attributes, '', ['get', 'list', 'watch'])) return refuse();
  const isOwn = (): boolean =>
    pods
      .podsOnNode(nodeName)
      .some(
        ({ metadata }) =>
          metadata.name === attributes.name && metadata.namespace === attributes.namespace,
      );
  if (attributes.verb !== 'get') {
    if (requiredFieldValue(attributes.fieldSelector, 'spec.nodeName') === nodeName) return allow;
    // Differs: NetworkPolicies speak of all pods, by labels and addresses (in Kubernetes the pods' network has that right).
    if (isOfAll(attributes)) return allow;
    if (attributes.name === '')
      return refuse('can only list/watch pods with spec.nodeName field selector');
  }
  return isOwn() ? allow : refuse(noRelationship(nodeName));
}

function isOfAll({ namespace, name, fieldSelector }: AuthorizationAttributes): boolean {
  return namespace === '' && name === '' && (fieldSelector ?? '') === '';
}

function authorizeOwnNode(nodeName: string, attributes: AuthorizationAttributes): Decision {
  if (isVerb(attributes, 'status', ['update', 'patch'])) return allow;
  if (isVerb(attributes, '', ['create', 'update', 'patch'])) return allow;
  if (!isVerb(attributes, '', ['get', 'list', 'watch'])) return refuse();
  if (attributes.name === nodeName) return allow;
  // Differs: which machines there are, and where: to ask them for images, and for the ways to their pods
  // (Kubernetes up to 1.31, too; and what it has for pods' networks has that right).
  if (attributes.verb !== 'get' && attributes.name === '') return allow;
  return refuse(`node '${nodeName}' cannot read '${attributes.name}', only its own Node object`);
}

function authorizeLease(nodeName: string, attributes: AuthorizationAttributes): Decision {
  if (!['get', 'create', 'update', 'patch', 'delete'].includes(attributes.verb))
    return refuse('can only get, create, update, patch, or delete a node lease');
  if (attributes.namespace !== 'kube-node-lease')
    return refuse('can only access leases in the "kube-node-lease" system namespace');
  // A create carries its name in the body: NodeRestriction looks at that.
  if (attributes.verb !== 'create' && attributes.name !== nodeName)
    return refuse('can only access node lease with the same name as the requesting node');
  return allow;
}

function isVerb(
  attributes: AuthorizationAttributes,
  subresource: string,
  verbs: readonly string[],
): boolean {
  return attributes.subresource === subresource && verbs.includes(attributes.verb);
}

interface References {
  readonly secrets: ReadonlySet<string>;
  readonly configMaps: ReadonlySet<string>;
}

/** Names of the Secrets and ConfigMaps a pod needs, all in its own namespace. */
function references(spec: PodSpec | undefined): References {
  const secrets = new Set<string | undefined>();
  const configMaps = new Set<string | undefined>();
  for (const { name } of spec?.imagePullSecrets ?? []) secrets.add(name);
  for (const volume of spec?.volumes ?? []) {
    secrets.add(volume.secret?.secretName);
    configMaps.add(volume.configMap?.name);
    for (const source of volume.projected?.sources ?? []) {
      secrets.add(source.secret?.name);
      configMaps.add(source.configMap?.name);
    }
  }
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  for (const container of containers) {
    for (const { secretRef, configMapRef } of container.envFrom ?? []) {
      secrets.add(secretRef?.name);
      configMaps.add(configMapRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      secrets.add(valueFrom?.secretKeyRef?.name);
      configMaps.add(valueFrom?.configMapKeyRef?.name);
    }
  }
  return { secrets: named(secrets), configMaps: named(configMaps) };
}

function named(names: ReadonlySet<string | undefined>): Set<string> {
  return new Set([...names].filter((name) => name !== undefined));
}

function noRelationship(nodeName: string): string {
  return `no relationship found between node '${nodeName}' and this object`;
}

function refuse(reason = ''): Decision {
  return { allowed: false, reason };
}
