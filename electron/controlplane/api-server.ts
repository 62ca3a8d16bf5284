// Puts the API server together: store → registry → router → chain. No listeners here: the result
// answers requests, whoever brings them.
import { setImmediate } from 'node:timers/promises';
import type { APIService } from '#kube/api/apiregistration.ts';
import type { Pod } from '#kube/api/core.ts';
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { SchemaRegistry } from '#kube/machinery/schema.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { createAdmissionChain } from './admission/chain.ts';
import type { DynamicDeps } from './admission/dynamic/deps.ts';
import { resourceQuota } from './admission/limits/resource-quota.ts';
import { dynamicPlugins, standardPlugins } from './admission/plugins/standard.ts';
import { AuditLog, type AuditSink } from './apiserver/audit/audit-log.ts';
import type { AuditPolicy } from './apiserver/audit/policy.ts';
import { createAuthenticator, tokenVerifier } from './apiserver/identity/authentication.ts';
import type { NodeVolumes } from './apiserver/identity/node-volumes.ts';
import { createAuthorizer } from './apiserver/identity/authorization.ts';
import type { AuthorizationAttributes, Authorizer } from './apiserver/identity/authorizer.ts';
import { bootstrapRbac } from './apiserver/identity/bootstrap/policy.ts';
import { certificateSigners } from './apiserver/identity/certificate-signers.ts';
import { escalationCheck } from './apiserver/identity/rbac/escalation.ts';
import { GrantCache } from './apiserver/identity/rbac/grants.ts';
import { rbacSource } from './apiserver/identity/rbac/objects.ts';
import { bootstrapTokens } from './apiserver/identity/tokens/bootstrap-tokens.ts';
import { issuerPaths } from './apiserver/identity/tokens/issuer-paths.ts';
import { TokenKeys } from './apiserver/identity/tokens/jwt.ts';
import { ServiceAccountTokens } from './apiserver/identity/tokens/service-account-tokens.ts';
import type { PathQuestion, ResourceQuestion } from './cel/authorizer.ts';
import { clusterBackupPath } from './backup/paths.ts';
import { machinesPath } from './fleet/package/package-paths.ts';
import { pageLinksPath } from './ui/links.ts';
import { Aggregator } from './apiserver/aggregation/aggregator.ts';
import { ApiServices, remoteOf } from './apiserver/aggregation/api-services.ts';
import { Backends } from './apiserver/aggregation/backends.ts';
import { RemoteDocuments } from './apiserver/aggregation/remote-documents.ts';
import { createChain } from './apiserver/chain.ts';
import { FlowControl } from './apiserver/flowcontrol/flow-control.ts';
import { followFlowObjects, listWidth } from './apiserver/flowcontrol/objects.ts';
import { Discovery } from './apiserver/documents/discovery.ts';
import type { SetBackupPassphrase } from './apiserver/handlers/backup-passphrase.ts';
import type { EnrolMachine } from './apiserver/handlers/enrolment.ts';
import type { OperateNode } from './apiserver/handlers/node-operation.ts';
import type { KubeletClient } from './apiserver/handlers/kubelet-client.ts';
import { Health, problemOf } from './apiserver/documents/health.ts';
import type { ApiHandler, RequestInfo, UserInfo } from './apiserver/http.ts';
import { auditFamilies, flowFamilies, storageFamilies } from './apiserver/metric-families.ts';
import { ServerMetrics } from './apiserver/metrics.ts';
import { OpenApi } from './apiserver/documents/openapi.ts';
import { createPaths } from './apiserver/documents/paths.ts';
import { ProtobufDecoder } from './apiserver/representation/protobuf.ts';
import { YamlReader } from './apiserver/representation/yaml.ts';
import { createRouter } from './apiserver/router.ts';
import { connectToService } from './apiserver/service-connection.ts';
import { HttpsWebhookCaller } from './apiserver/webhook-client.ts';
import type { Build } from './apiserver/documents/version.ts';
import { KindVersions } from './registry/kind-versions.ts';
import { createRegistry, type Registry, type RegistryReader } from './registry/registry.ts';
import type { ClusterConfig } from './registry/resource.ts';
import { ResourceTable } from './registry/resource-table.ts';
import { builtInResources } from './registry/resources.ts';
import { loadDescriptions, protobufDescriptors, schemaDocuments } from './schemas.ts';
import type { Store } from './store/store.ts';

export interface ApiServerParts {
  readonly store: Store;
  readonly config: ClusterConfig;
  readonly build: Build;
  /** `host:port`, for discovery. */
  readonly address: string;
  /** Made with the registry's reader, by which it finds nodes. */
  readonly kubelet: (reader: RegistryReader) => KubeletClient;
  /** Pods of a node, for the node authorizer. */
  readonly podsOnNode: (nodeName: string) => readonly Pod[];
  /** Their claims and volumes, for the same. */
  readonly nodeVolumes?: NodeVolumes;
  readonly isIngressSecret?: (namespace: string, name: string) => boolean;
  /** Undefined once the cluster's first objects exist; else what is still missing. */
  readonly bootstrapState: () => string | undefined;
  /** As whom servers behind this one are asked: signed by the CA of the front proxy. */
  readonly frontProxy: () => KeyPairPem;
  /** Signs the tokens of service accounts; PKCS #8. */
  readonly tokenKeyPem: string;
  /** Why the store answers nothing now; undefined: it answers. None: it always does. */
  readonly storeProblem?: () => string | undefined;
  /** Adds machines to the cluster; none: it can't be asked here. */
  readonly enrol?: EnrolMachine;
  /** Restarts them, takes them out and the like; none: it can't be asked here. */
  readonly operateNode?: OperateNode;
  /** Sets what backups of the cluster are sealed with; none: there are none here. */
  readonly setBackupPassphrase?: SetBackupPassphrase;
  /** Answers /flotilla/cluster-backup, to administrators; none: there is nothing. */
  readonly backupPaths?: ApiHandler;
  /** Answers below /flotilla, to administrators; none: there is nothing. */
  readonly memberPaths?: ApiHandler;
  /** Answers below /flotilla/machines, to machines that have a token, and nodes; none: there is nothing. */
  readonly machinePaths?: ApiHandler;
  /** Links by which other devices open the page. */
  readonly pageLinks?: ApiHandler;
  readonly audit?: { readonly policy: AuditPolicy; readonly sink: AuditSink };
  /** Share of the time since the last look in which the process was busy, 0 to 1. */
  readonly eventLoopUtilization: () => number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface AssembledApiServer {
  readonly handler: ApiHandler;
  readonly registry: Registry;
  readonly tokens: ServiceAccountTokens;
  /** Why the server behind an APIService does not answer as it has to; undefined: it does. */
  readonly probeApiService: (apiService: APIService) => Promise<string | undefined>;
}

/** What tokens say of whom they are: as pods reach the API server, in clusters made by kubeadm too. */
const issuer = 'https://kubernetes.default.svc.cluster.local';

export function assembleApiServer(parts: ApiServerParts): AssembledApiServer {
  const { store, config, clock, random, logger } = parts;
  const table = new ResourceTable(builtInResources);
  const schemas = new SchemaRegistry(schemaDocuments);
  // They reach services by what the registry knows of these; before that nothing is converted.
  const registry = createRegistry({
    store,
    table,
    schemas,
    webhooks: { call: (call) => webhooks.call(call) },
    clock,
    random,
    config,
    logger,
  });
  const audit = parts.audit && new AuditLog({ ...parts.audit, clock });
  const flowControl = new FlowControl({
    clock,
    widthOf: (info, query) => listWidth(registry, info, query),
  });
  followFlowObjects(registry, flowControl);
  const metrics = new ServerMetrics(
    [
      ...flowFamilies(flowControl),
      ...(audit === undefined ? [] : auditFamilies(audit)),
      ...storageFamilies(registry),
      {
        name: 'process_event_loop_utilization',
        help: 'Share of the time since the last look in which the event loop was busy.',
        value: parts.eventLoopUtilization,
      },
    ],
    (info) => isServed(table, info),
  );
  const health = new Health([
    { name: 'etcd', check: async () => void (await store.currentRevision()) },
    { name: 'etcd-readiness', readyOnly: true, check: () => storeReadiness(parts) },
    {
      name: 'informer-sync',
      readyOnly: true,
      check: () => (registry.isReady() ? undefined : 'caches are still filling'),
    },
    { name: 'poststarthook/bootstrap', readyOnly: true, check: parts.bootstrapState },
  ]);
  const access = createAccess(parts, registry);
  const kubelet = parts.kubelet(registry.reader);
  const { aggregator, documents } = createAggregation(parts, registry, kubelet);
  const { authorize, tokens } = access;
  const plugins = standardPlugins({ reader: registry.reader, clock, random });
  const webhooks: HttpsWebhookCaller = new HttpsWebhookCaller({
    clock,
    connect: (service, signal) => connectToService({ registry, kubelet, random }, service, signal),
  });
  const dynamic = dynamicDeps({ registry, schemas, authorize, random, logger, webhooks });
  const resources = createRouter({
    registry,
    schemas,
    protobuf: new ProtobufDecoder({
      descriptors: protobufDescriptors,
      shapeOf: (name) => (schemas.has(name) ? schemas.get(name) : undefined),
    }),
    yaml: new YamlReader(clock),
    admission: createAdmissionChain([
      ...plugins,
      escalationCheck(access),
      certificateSigners(authorize),
      ...dynamicPlugins(dynamic),
      // The last: it charges what all others let through.
      resourceQuota({
        reader: registry.reader,
        writeStatus: (...written) => registry.writeStatus(...written),
        clock,
      }),
    ]),
    kubelet,
    access,
    ...(parts.enrol === undefined ? {} : { enrol: parts.enrol }),
    ...(parts.operateNode === undefined ? {} : { operateNode: parts.operateNode }),
    ...(parts.setBackupPassphrase === undefined
      ? {}
      : { setBackupPassphrase: parts.setBackupPassphrase }),
    storeProblem: () => problemOf(() => storeReadiness(parts)),
    clock,
    random,
    logger,
  });
  const paths = createPaths({
    discovery: new Discovery(table, parts.address, documents),
    openApi: new OpenApi(table, schemas, { remotes: documents, describe: loadDescriptions }),
    health,
    metrics,
    build: parts.build,
    more: [
      ...issuerPaths({ keys: access.keys, issuer, address: parts.address }),
      ...(parts.machinePaths === undefined
        ? []
        : [{ prefix: machinesPath, answer: parts.machinePaths }]),
      ...(parts.pageLinks === undefined
        ? []
        : [{ prefix: pageLinksPath, answer: parts.pageLinks }]),
      ...(parts.backupPaths === undefined
        ? []
        : [{ prefix: clusterBackupPath, answer: parts.backupPaths }]),
      ...(parts.memberPaths === undefined
        ? []
        : [{ prefix: '/flotilla', answer: parts.memberPaths }]),
    ],
  });
  const handler = createChain({
    flowControl,
    ...(audit === undefined ? {} : { audit }),
    authenticate: createAuthenticator(access.verifyToken, tokens.apiAudiences),
    authorize,
    resources: aggregator.around(resources),
    paths: aggregator.aroundPaths(paths),
    clock,
    random,
    logger,
    metrics,
  });
  const probeApiService = async (apiService: APIService): Promise<string | undefined> => {
    const remote = remoteOf(apiService);
    return remote === undefined ? undefined : aggregator.probe(remote);
  };
  return { handler, registry, tokens, probeApiService };
}

function isServed(table: ResourceTable, info: RequestInfo): boolean {
  const { group, version, resource, subresource } = info;
  const definition = table.lookup(group, version, resource);
  if (definition === undefined) return false;
  return subresource === '' || Object.hasOwn(definition.subresources ?? {}, subresource);
}

/** The servers behind this one. */
function createAggregation(parts: ApiServerParts, registry: Registry, kubelet: KubeletClient) {
  const { frontProxy, clock, random, logger } = parts;
  const services = new ApiServices();
  const definition = registry.table.lookup('apiregistration.k8s.io', 'v1', 'apiservices');
  assert(definition, 'apiservices are in the table');
  registry.resource(definition).cacher.listen(services);
  const backends = new Backends({ registry, kubelet, frontProxy, random });
  const aggregator = new Aggregator({ apiServices: services, backends, clock });
  const documents = new RemoteDocuments({ apiServices: services, aggregator, clock, logger });
  return { aggregator, documents };
}

/** As an authorizer is asked; a path that is none below a resource. */
function questionOf(
  user: UserInfo,
  question: ResourceQuestion | PathQuestion,
): AuthorizationAttributes {
  const none = { group: '', resource: '', subresource: '', namespace: '', name: '' };
  return 'path' in question
    ? { ...none, ...question, isResourceRequest: false, user, fieldSelector: null }
    : { ...question, path: '', isResourceRequest: true, user, fieldSelector: null };
}

interface DynamicParts extends Pick<DynamicDeps, 'random' | 'logger' | 'webhooks'> {
  readonly registry: Registry;
  readonly schemas: SchemaRegistry;
  readonly authorize: Authorizer;
}

/** What webhooks and policies are decided with. */
export function dynamicDeps({ registry, schemas, authorize, ...parts }: DynamicParts): DynamicDeps {
  const { reader } = registry;
  const group = 'admissionregistration.k8s.io';
  // The only version in which a kind is served.
  const versionOf = (plural: string) =>
    plural.startsWith('mutatingadmissionpolic') ? 'v1beta1' : 'v1';
  return {
    ...parts,
    reader,
    configurations: (plural) =>
      reader.list({ group, version: versionOf(plural), resource: plural }, ''),
    kinds: new KindVersions(registry, schemas),
    nextTurn: () => setImmediate(),
    authorize: (user, question) => authorize(questionOf(user, question)),
  };
}

function createAccess(parts: ApiServerParts, registry: Registry) {
  const { clock, random } = parts;
  const objects = registry.reader;
  const source = rbacSource(registry, bootstrapRbac);
  const grants = new GrantCache(source);
  const keys = new TokenKeys(parts.tokenKeyPem);
  const tokens = new ServiceAccountTokens({ keys, issuer, objects, clock, random });
  return {
    source,
    grants,
    keys,
    tokens,
    authorize: createAuthorizer({ grants, nodePods: parts }),
    verifyToken: tokenVerifier([
      (token, audiences) => tokens.verify(token, audiences),
      bootstrapTokens(objects, clock, tokens.apiAudiences),
    ]),
  };
}

/** Whether a majority stands behind what is answered. A restart would not help where it does not. */
async function storeReadiness({
  store,
  storeProblem,
}: ApiServerParts): Promise<string | undefined> {
  const problem = storeProblem?.();
  if (problem === undefined) await store.currentRevision({ linearizable: true });
  return problem;
}
