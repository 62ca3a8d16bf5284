// What every handler of a resource request works with, and how admission is asked about it.
import type { GroupVersionKind, GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { SchemaRegistry } from '#kube/machinery/schema.ts';
import type {
  AdmissionAttributes,
  AdmissionChain,
  AdmissionOperation,
} from '../../admission/chain.ts';
import type { Registry } from '../../registry/registry.ts';
import type { ResourceDefinition } from '../../registry/resource.ts';
import type { ResourceRegistry } from '../../registry/resource-registry.ts';
import type { ApiRequest, RequestInfo, UserInfo } from '../http.ts';
import type { VerifiedToken } from '../identity/authentication.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import type { GrantCache } from '../identity/rbac/grants.ts';
import type { ServiceAccountTokens } from '../identity/tokens/service-account-tokens.ts';
import type { ProtobufDecoder } from '../representation/protobuf.ts';
import type { YamlReader } from '../representation/yaml.ts';
import type { NodeSamples } from '../resource-metrics/samples.ts';
import type { SetBackupPassphrase } from './backup-passphrase.ts';
import type { EnrolMachine } from './enrolment.ts';
import type { FieldTracker } from './fields.ts';
import type { KubeletClient } from './kubelet-client.ts';
import type { OperateNode } from './node-operation.ts';
import type { WatchFrames } from './watch-frames.ts';

export interface RouterDeps {
  readonly registry: Registry;
  readonly schemas: SchemaRegistry;
  /** For request bodies of built-in kinds. */
  readonly protobuf: ProtobufDecoder;
  readonly yaml: YamlReader;
  readonly admission: AdmissionChain;
  readonly kubelet: KubeletClient;
  readonly access: Access;
  /** Adds machines; undefined: not here. */
  readonly enrol?: EnrolMachine;
  /** Looks after machines of the cluster; undefined: not here. */
  readonly operateNode?: OperateNode;
  /** Sets what backups are sealed with; undefined: there are none here. */
  readonly setBackupPassphrase?: SetBackupPassphrase;
  /** Why the store does not answer; undefined: it does. */
  readonly storeProblem: () => Promise<string | undefined>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What reviews and token requests are answered from. */
export interface Access {
  readonly authorize: Authorizer;
  readonly grants: GrantCache;
  readonly tokens: ServiceAccountTokens;
  /** Throws TokenError. */
  readonly verifyToken: (token: string, audiences: readonly string[]) => Promise<VerifiedToken>;
}

export interface RequestScope {
  readonly deps: RouterDeps;
  readonly request: ApiRequest;
  readonly info: RequestInfo;
  readonly definition: ResourceDefinition;
  readonly resource: ResourceRegistry;
  readonly user: UserInfo;
  readonly fields: FieldTracker;
  readonly samples: NodeSamples;
  readonly frames: WatchFrames;
  /** Texts for `Warning:` headers, in order; those given twice count once. */
  readonly warnings: Set<string>;
}

/** What a body holds, or a subresource is about: a name in the schemas with its group and kind. */
export interface BodyKind extends GroupVersionKind {
  /** `autoscaling/v1.Scale`. */
  readonly schema: string;
  /** The kind is in every group (DeleteOptions): the apiVersion does not matter. */
  readonly isAnyGroup?: boolean;
  /** Say the same and are served no more: old clients send them. */
  readonly formerVersions?: readonly string[];
}

export function resourceOf(definition: ResourceDefinition): GroupVersionResource {
  const { group, version, plural } = definition;
  return { group, version, resource: plural };
}

export interface AdmissionSubject {
  readonly operation: AdmissionOperation;
  readonly name: string;
  readonly object?: KubeObject | undefined;
  readonly oldObject?: KubeObject | undefined;
  readonly dryRun: boolean;
  /** Of a delete; those of other writes are in the query. */
  readonly options?: object;
}

export function attributesOf(scope: RequestScope, subject: AdmissionSubject): AdmissionAttributes {
  const { definition, info, user, warnings, request } = scope;
  return {
    operation: subject.operation,
    resource: resourceOf(definition),
    kind: kindOf(scope),
    subresource: info.subresource,
    namespace: definition.namespaced ? info.namespace : '',
    name: subject.name,
    object: subject.object,
    oldObject: subject.oldObject,
    user,
    dryRun: subject.dryRun,
    options: subject.options ?? operationOptions(subject.operation, request.query),
    signal: request.signal,
    warn: (text) => void warnings.add(text),
    annotate(key, value) {
      if (request.audit !== undefined)
        request.audit.annotations = { ...request.audit.annotations, [key]: value };
    },
  };
}

/** What the object is: a subresource may be about another kind than its resource. */
function kindOf({ definition, info }: RequestScope): GroupVersionKind {
  const { group, version, kind, subresources } = definition;
  const subresource = subresources?.[info.subresource];
  if (subresource?.type === 'scale') return { group: 'autoscaling', version: 'v1', kind: 'Scale' };
  if (subresource?.type !== 'connect') return { group, version, kind };
  return {
    group: subresource.group ?? group,
    version: subresource.version ?? version,
    kind: subresource.kind,
  };
}

function operationOptions(
  operation: AdmissionOperation,
  query: URLSearchParams,
): object | undefined {
  if (operation !== 'CREATE' && operation !== 'UPDATE') return undefined;
  const dryRun = query.getAll('dryRun');
  const texts = ['fieldManager', 'fieldValidation'].flatMap((name) => {
    const text = query.get(name) ?? '';
    return text === '' ? [] : [[name, text] as const];
  });
  return {
    kind: operation === 'CREATE' ? 'CreateOptions' : 'UpdateOptions',
    apiVersion: 'meta.k8s.io/v1',
    ...(dryRun.length === 0 ? {} : { dryRun }),
    ...Object.fromEntries(texts),
  };
}

/** `299 - "text"`, several joined: what client-go and kubectl print to the user. */
export function warningHeaders(scope: RequestScope): Record<string, string> {
  if (scope.warnings.size === 0) return {};
  const values = [...scope.warnings].map((text) => `299 - "${escapeWarning(text)}"`);
  return { warning: values.join(', ') };
}

/** Control characters can't stand in a header; quotes and backslashes are escaped. */
function escapeWarning(text: string): string {
  return text.replaceAll(/[^\P{Cc}]/gu, ' ').replaceAll(/[\\"]/g, (special) => `\\${special}`);
}
