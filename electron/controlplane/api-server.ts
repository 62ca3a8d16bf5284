// Puts the API server together: store → registry → router → chain. No listeners here: the result
// answers requests, whoever brings them.
import type { Pod } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { SchemaRegistry } from '#kube/machinery/schema.ts';
import { createAdmissionChain } from './admission/chain.ts';
import { standardPlugins } from './admission/plugins/standard.ts';
import { AuditLog, type AuditSink } from './apiserver/audit/audit-log.ts';
import type { AuditPolicy } from './apiserver/audit/policy.ts';
import { createAuthenticator, tokenVerifier } from './apiserver/identity/authentication.ts';
import { createAuthorizer } from './apiserver/identity/authorization.ts';
import { bootstrapRbac } from './apiserver/identity/bootstrap/policy.ts';
import { certificateSigners } from './apiserver/identity/certificate-signers.ts';
import { escalationCheck } from './apiserver/identity/rbac/escalation.ts';
import { GrantCache } from './apiserver/identity/rbac/grants.ts';
import { rbacSource } from './apiserver/identity/rbac/objects.ts';
import { bootstrapTokens } from './apiserver/identity/tokens/bootstrap-tokens.ts';
import { issuerPaths } from './apiserver/identity/tokens/issuer-paths.ts';
import { TokenKey } from './apiserver/identity/tokens/jwt.ts';
import { ServiceAccountTokens } from './apiserver/identity/tokens/service-account-tokens.ts';
import { createChain } from './apiserver/chain.ts';
import { FlowControl } from './apiserver/flowcontrol/flow-control.ts';
import { followFlowObjects, listWidth } from './apiserver/flowcontrol/objects.ts';
import { Discovery } from './apiserver/documents/discovery.ts';
import type { KubeletClient } from './apiserver/handlers/kubelet-client.ts';
import { Health } from './apiserver/documents/health.ts';
import type { ApiHandler } from './apiserver/http.ts';
import { auditFamilies, flowFamilies, storageFamilies } from './apiserver/metric-families.ts';
import { ServerMetrics } from './apiserver/metrics.ts';
import { OpenApi } from './apiserver/documents/openapi.ts';
import { createPaths } from './apiserver/documents/paths.ts';
import { ProtobufDecoder } from './apiserver/representation/protobuf.ts';
import { YamlReader } from './apiserver/representation/yaml.ts';
import { createRouter } from './apiserver/router.ts';
import type { Build } from './apiserver/documents/version.ts';
import { createRegistry, type Registry, type RegistryReader } from './registry/registry.ts';
import type { ClusterConfig } from './registry/resource.ts';
import { ResourceTable } from './registry/resource-table.ts';
import { builtInResources } from './registry/resources.ts';
import { protobufDescriptors, schemaDocuments } from './schemas.ts';
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
  /** Undefined once the cluster's first objects exist; else what is still missing. */
  readonly bootstrapState: () => string | undefined;
  /** Signs the tokens of service accounts; PKCS #8. */
  readonly tokenKeyPem: string;
  /** Why the store answers nothing now; undefined: it answers. None: it always does. */
  readonly storeProblem?: () => string | undefined;
  /** Answers below /flotilla, to administrators; none: there is nothing. */
  readonly memberPaths?: ApiHandler;
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
}

/** What tokens say of whom they are: as pods reach the API server, in clusters made by kubeadm too. */
const issuer = 'https://kubernetes.default.svc.cluster.local';

export function assembleApiServer(parts: ApiServerParts): AssembledApiServer {
  const { store, config, clock, random, logger } = parts;
  const table = new ResourceTable(builtInResources);
  const schemas = new SchemaRegistry(schemaDocuments);
  const registry = createRegistry({ store, table, schemas, clock, random, config, logger });
  const audit = parts.audit && new AuditLog({ ...parts.audit, clock });
  const flowControl = new FlowControl({
    clock,
    widthOf: (info, query) => listWidth(registry, info, query),
  });
  followFlowObjects(registry, flowControl);
  const metrics = new ServerMetrics([
    ...flowFamilies(flowControl),
    ...(audit === undefined ? [] : auditFamilies(audit)),
    ...storageFamilies(registry),
    {
      name: 'process_event_loop_utilization',
      help: 'Share of the time since the last look in which the event loop was busy.',
      value: parts.eventLoopUtilization,
    },
  ]);
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
  const { authorize, tokens } = access;
  const plugins = standardPlugins({ reader: registry.reader, clock, random });
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
    ]),
    kubelet: parts.kubelet(registry.reader),
    access,
    clock,
    random,
    logger,
  });
  const paths = createPaths({
    discovery: new Discovery(table, parts.address),
    openApi: new OpenApi(table, schemas),
    health,
    metrics,
    build: parts.build,
    more: [
      ...issuerPaths({ key: access.key, issuer, address: parts.address }),
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
    resources,
    paths,
    clock,
    random,
    logger,
    metrics,
  });
  return { handler, registry, tokens };
}

function createAccess(parts: ApiServerParts, registry: Registry) {
  const { clock, random } = parts;
  const objects = registry.reader;
  const source = rbacSource(registry, bootstrapRbac);
  const grants = new GrantCache(source);
  const key = new TokenKey(parts.tokenKeyPem);
  const tokens = new ServiceAccountTokens({ key, issuer, objects, clock, random });
  return {
    source,
    grants,
    key,
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
