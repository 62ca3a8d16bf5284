// The router: a request whose meaning is known (RequestInfo) to the handler of its verb.
// Everything kind-specific comes from the resource table; 404 and 405 are decided here.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { SchemaRegistry } from '#kube/machinery/schema.ts';
import type { AdmissionChain } from '../admission/chain.ts';
import type { Registry } from '../registry/registry.ts';
import type { ApiRequest, ApiResponse, RequestInfo } from './http.ts';
import type { KubeletClient } from './handlers/kubelet-client.ts';

export interface RouterDeps {
  readonly registry: Registry;
  readonly schemas: SchemaRegistry;
  readonly admission: AdmissionChain;
  readonly kubelet: KubeletClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * Answers resource requests (`info.isResourceRequest`); `request.user` must be set. Throws
 * StatusError for everything that is not a success: the chain turns it into a Status body.
 */
export type RouteRequest = (request: ApiRequest, info: RequestInfo) => Promise<ApiResponse>;

export type CreateRouter = (deps: RouterDeps) => RouteRequest;
