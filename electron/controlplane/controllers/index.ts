// The table of controllers: name → factory. Each acts under its own account.
import {
  createAppCertificateController,
  createAppsAuthorityController,
} from './access/app-certificates.ts';
import { createCertificateApprover } from './access/certificate-approval.ts';
import { createCertificateCleaner } from './access/certificate-cleaner.ts';
import { createCertificateController } from './access/certificates.ts';
import { createRoleAggregationController } from './access/role-aggregation.ts';
import { createRootCaPublisher } from './access/root-ca.ts';
import { createTokenCleaner } from './access/token-cleaner.ts';
import { createTokenSecretController } from './access/token-secrets.ts';
import { createApiEndpointsController } from './api-endpoints.ts';
import { createApiServiceAvailability } from './api-service/availability.ts';
import { createApiServiceRegistration } from './api-service/registration.ts';
import { createBalancerController } from './balancer/balancer.ts';
import { createCustomResourceDefinitionController } from './custom-resource-definition.ts';
import { createDaemonSetController } from './daemon-set/daemon-set.ts';
import { createDeploymentController } from './deployment/deployment.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { ControllerDeps, ControllerFactory } from './deps.ts';
import { createDisruptionController } from './disruption/disruption.ts';
import { createStaleDisruptionController } from './disruption/stale-targets.ts';
import { createEndpointSliceController } from './endpoint-slice/endpoint-slice.ts';
import { createEndpointsController } from './endpoints/endpoints.ts';
import { createEndpointMirroringController } from './endpoints/mirroring.ts';
import { createEphemeralVolumeController } from './ephemeral-volumes.ts';
import { createFlowSchemaController } from './flow-schema.ts';
import { createGarbageCollector } from './garbage-collector/garbage-collector.ts';
import { createIngressAddressController } from './ingress/addresses.ts';
import { createIngressProblemController } from './ingress/problem-events.ts';
import { createLocalPathProvisioner } from './local-path/local-path.ts';
import { createNamespaceController } from './namespace.ts';
import { createNodeIpamController } from './node-ipam/node-ipam.ts';
import { createNodeLifecycleController } from './node/node-lifecycle.ts';
import { createNodeOperationsController } from './node/operations.ts';
import { createPowerPolicyController } from './node/power-policy.ts';
import { createTaintEvictionController } from './node/taint-eviction.ts';
import { createPodGarbageCollector } from './pod-gc.ts';
import {
  createReplicaSetController,
  createReplicationController,
} from './replica-set/replica-set.ts';
import { createResourceQuotaController } from './resource-quota.ts';
import { createServiceAccountController } from './service-account.ts';
import { createVolumeBinder } from './volume-binding/binder.ts';
import { createVolumeMover } from './volume-move/mover.ts';
import { createClaimProtectionController } from './volume-protection/claims.ts';
import { createVolumeProtectionController } from './volume-protection/volumes.ts';

export type { ControllerDeps } from './deps.ts';

export const controllers: Readonly<Record<string, ControllerFactory>> = {
  serviceaccount: createServiceAccountController,
  namespace: createNamespaceController,
  deployment: createDeploymentController,
  replicaset: createReplicaSetController,
  replicationcontroller: createReplicationController,
  daemonset: createDaemonSetController,
  disruption: createDisruptionController,
  staledisruption: createStaleDisruptionController,
  endpoints: createEndpointsController,
  endpointslice: createEndpointSliceController,
  endpointslicemirroring: createEndpointMirroringController,
  customresourcedefinition: createCustomResourceDefinitionController,
  garbagecollector: createGarbageCollector,
  nodeipam: createNodeIpamController,
  nodelifecycle: createNodeLifecycleController,
  nodeoperations: createNodeOperationsController,
  powerpolicy: createPowerPolicyController,
  tainteviction: createTaintEvictionController,
  podgc: createPodGarbageCollector,
  clusterroleaggregation: createRoleAggregationController,
  csrapproving: createCertificateApprover,
  csrsigning: createCertificateController,
  csrcleaner: createCertificateCleaner,
  appsauthority: createAppsAuthorityController,
  appcertificate: createAppCertificateController,
  rootcacertpublisher: createRootCaPublisher,
  tokencleaner: createTokenCleaner,
  tokensecret: createTokenSecretController,
  flowschema: createFlowSchemaController,
  apiserviceregistration: createApiServiceRegistration,
  apiserviceavailability: createApiServiceAvailability,
  resourcequota: createResourceQuotaController,
  persistentvolumebinder: createVolumeBinder,
  localpath: createLocalPathProvisioner,
  volumemove: createVolumeMover,
  ingressaddress: createIngressAddressController,
  ingressproblem: createIngressProblemController,
  service: createBalancerController,
  apiendpoints: createApiEndpointsController,
  ephemeralvolume: createEphemeralVolumeController,
  pvcprotection: createClaimProtectionController,
  pvprotection: createVolumeProtectionController,
};

/** Whose rights each has: a service account of kube-system, by the name of its bootstrap role. */
export const controllerAccounts: Readonly<Record<string, string>> = {
  serviceaccount: 'service-account-controller',
  namespace: 'namespace-controller',
  deployment: 'deployment-controller',
  replicaset: 'replicaset-controller',
  replicationcontroller: 'replication-controller',
  daemonset: 'daemon-set-controller',
  disruption: 'disruption-controller',
  staledisruption: 'disruption-controller',
  endpoints: 'endpoint-controller',
  endpointslice: 'endpointslice-controller',
  endpointslicemirroring: 'endpointslicemirroring-controller',
  customresourcedefinition: 'custom-resource-definition-controller',
  garbagecollector: 'generic-garbage-collector',
  nodeipam: 'node-controller',
  nodelifecycle: 'node-controller',
  nodeoperations: 'node-operation',
  powerpolicy: 'node-operation',
  tainteviction: 'node-controller',
  podgc: 'pod-garbage-collector',
  clusterroleaggregation: 'clusterrole-aggregation-controller',
  csrapproving: 'certificate-controller',
  csrsigning: 'certificate-controller',
  csrcleaner: 'certificate-controller',
  appsauthority: 'app-certificate-controller',
  appcertificate: 'app-certificate-controller',
  rootcacertpublisher: 'root-ca-cert-publisher',
  tokencleaner: 'token-cleaner',
  flowschema: 'flow-schema-controller',
  apiserviceregistration: 'api-service-controller',
  apiserviceavailability: 'api-service-controller',
  resourcequota: 'resourcequota-controller',
  persistentvolumebinder: 'persistent-volume-binder',
  localpath: 'local-path-provisioner',
  volumemove: 'volume-mover',
  ingressaddress: 'ingress-address-controller',
  ingressproblem: 'ingress-problem-controller',
  service: 'service-controller',
  apiendpoints: 'api-endpoints-controller',
  ephemeralvolume: 'ephemeral-volume-controller',
  pvcprotection: 'pvc-protection-controller',
  pvprotection: 'pv-protection-controller',
};

export interface ControllersDeps extends Omit<ControllerDeps, 'client'> {
  /** A client as a user; undefined: as the controller manager itself. */
  readonly clientOf: (account: string | undefined) => RestClient;
}

/** Runs every controller until `signal` aborts; rejects when one of them fails an assertion. */
export async function runControllers(deps: ControllersDeps, signal: AbortSignal): Promise<void> {
  const made = Object.entries(controllers).map(([name, factory]) =>
    factory({ ...deps, client: deps.clientOf(controllerAccounts[name]) }),
  );
  const runs = made.map((controller) => controller.run(signal));
  deps.informers.start(signal);
  await Promise.all(runs);
}
