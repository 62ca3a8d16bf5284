// The control plane's parts as clients of its own API, over the loopback transport: each with an identity.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import type { ApiHandler } from './apiserver/http.ts';
import { serviceAccountGroups } from './apiserver/identity/authentication.ts';
import { LoopbackTransport } from './loopback-transport.ts';

export interface OwnClientsDeps {
  readonly handler: ApiHandler;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class OwnClients {
  readonly #deps: OwnClientsDeps;

  constructor(deps: OwnClientsDeps) {
    this.#deps = deps;
  }

  /** Of the API server itself, which may everything. */
  apiServer(): RestClient {
    return this.as('system:apiserver', ['system:masters']);
  }

  /** `program` is what managedFields show as the owner of what it writes. */
  as(
    name: string,
    groups: readonly string[] = [],
    program = name.replace(/^system:/, ''),
  ): RestClient {
    const { handler, clock, random } = this.#deps;
    const user = { name, groups: [...groups, 'system:authenticated'] };
    const transport = new LoopbackTransport({ handler, user });
    return new RestClient({ transport, clock, random, userAgent: `${program}/flotilla` });
  }

  /** Of the service account `account` in kube-system. */
  account(account: string, program = 'kube-controller-manager'): RestClient {
    const name = `system:serviceaccount:kube-system:${account}`;
    return this.as(name, serviceAccountGroups(name) ?? [], program);
  }

  informers(client: RestClient): InformerFactory {
    return new InformerFactory({ ...this.#deps, client });
  }
}
