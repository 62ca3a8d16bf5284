// What every controller is given and what it is to its runner.
import type { APIService } from '#kube/api/apiregistration.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { ApiEventRecorder, type EventRecorder } from '#kube/client/event-recorder.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import type { RestClient } from '#kube/client/rest-client.ts';

/** What only whoever holds the cluster's keys can make. */
export interface ClusterAuthority {
  readonly caPem: string;
  /** A token without an end, which is good while the Secret holds it. */
  secretToken(
    namespace: string,
    account: { readonly name: string; readonly uid: string },
    secretName: string,
  ): string;
  /** For whom a request is, or why it can't be signed. */
  examine(request: CertificateRequest): RequestedNames | Refusal;
  certify(
    request: CertificateRequest & { readonly seconds?: number },
  ): { readonly certificatePem: string } | Refusal;
  /** Of names of apps only: nothing in the cluster believes what it signs. */
  readonly apps: {
    /** The issuer and the root for these domains: the published ones while they are good. */
    chain(published: string | undefined, domains: readonly string[]): Promise<string>;
    /** With `chain` behind it. */
    certify(
      request: CertificateRequest,
      chain: string,
    ): { readonly certificatePem: string } | Refusal;
  };
  /** Why a server can't show itself with this certificate and key, in PEM form; undefined: it can. */
  pairProblem(certificatePem: string, keyPem: string): string | undefined;
  /** In ms; undefined: this is no certificate. */
  expiryOf(certificatePem: string): number | undefined;
}

export interface CertificateRequest {
  readonly requestPem: string;
  readonly signerName: string;
  readonly usages: readonly string[];
}

export interface RequestedNames {
  readonly commonName: string;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

export interface Refusal {
  readonly refused: string;
}

export interface ControllerDeps {
  /** With the rights of this one controller. */
  readonly client: RestClient;
  /** Shared by all controllers; started by the runner after all were made. */
  readonly informers: InformerFactory;
  readonly authority: ClusterAuthority;
  /** Why the server behind it does not answer as it has to; undefined: it does. */
  readonly probeApiService: (apiService: APIService) => Promise<string | undefined>;
  /** Control planes of the cluster, by the id of their Leases: whether they were heard of just now. */
  readonly apiServers: () => ReadonlyMap<string, boolean>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface RunnableController {
  /** Resolves when `signal` aborts; rejects on programmer errors. */
  run(signal: AbortSignal): Promise<void>;
}

export type ControllerFactory = (deps: ControllerDeps) => RunnableController;

/** `component` is what `kubectl describe` shows in the From column. */
export function recorderFor(deps: ControllerDeps, component: string): EventRecorder {
  return new ApiEventRecorder({
    client: deps.client,
    clock: deps.clock,
    logger: deps.logger,
    component,
  });
}
