// Connections to the servers behind APIServices: TLS with the certificate by which they know that
// it is us who says in whose name a request is.
// Source: kubernetes kube-aggregator pkg/controllers/status/remote (BuildTransportConfig).
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Service } from '#kube/api/core.ts';
import type { Random } from '#kube/base/random.ts';
import { services } from '#kube/client/resources.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import type { Registry } from '../../registry/registry.ts';
import type { KubeletClient } from '../handlers/kubelet-client.ts';
import { dialPod, slicesOf } from '../service-connection.ts';
import type { RemoteApi } from './api-services.ts';
import { serviceAddresses, type ServiceAddress } from './endpoints.ts';

export interface BackendsDeps {
  readonly registry: Registry;
  readonly kubelet: KubeletClient;
  /** As whom we ask: signed by the CA of the front proxy. */
  readonly frontProxy: () => KeyPairPem;
  readonly random: Random;
}

export class Backends {
  readonly #deps: BackendsDeps;

  constructor(deps: BackendsDeps) {
    this.#deps = deps;
  }

  /** In an order of chance: nobody is asked more than others. */
  async addresses({ service }: Pick<RemoteApi, 'service'>): Promise<readonly ServiceAddress[]> {
    const { registry, random } = this.#deps;
    const { namespace, name, port } = service;
    const found = registry.reader.cached(services, namespace, name);
    if (found === undefined) return [];
    const slices = await slicesOf(registry, namespace, name);
    return serviceAddresses(found as Service, port, slices)
      .map((address) => ({ address, order: random.next() }))
      .sort((a, b) => a.order - b.order)
      .map(({ address }) => address);
  }

  async connect(
    { service, spec }: RemoteApi,
    { host, port, pod }: ServiceAddress,
    signal: AbortSignal,
  ): Promise<Socket> {
    const socket =
      pod === undefined
        ? connectTcp({ host, port, signal })
        : await dialPod(this.#deps.kubelet, pod, signal);
    const { certPem: cert, keyPem: key } = this.#deps.frontProxy();
    const { caBundle = '', insecureSkipTLSVerify = false } = spec;
    const secure = connectTls({
      socket,
      servername: `${service.name}.${service.namespace}.svc`,
      cert,
      key,
      rejectUnauthorized: !insecureSkipTLSVerify,
      ...(caBundle === '' ? {} : { ca: Buffer.from(caBundle, 'base64') }),
    });
    // TLS says nothing of a connection that broke beneath it.
    socket.on('error', (error) => secure.destroy(error));
    return secure;
  }
}
