// Health-check node ports: balancers outside ask each node whether it has endpoints of a Service whose
// external traffic stays on its node. One small HTTP server for each such Service.
// Source: kubernetes pkg/proxy/healthcheck/service_health.go (the answer, and when it is which).
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { ApplyProblem } from './applier.ts';
import type { HealthCheck } from './rules.ts';

interface Listener {
  readonly server: Server;
  readonly port: number;
  check: HealthCheck;
}

export class HealthChecks {
  readonly #address: string;
  readonly #isHealthy: () => boolean;
  /** By `namespace/name`. */
  readonly #listeners = new Map<string, Listener>();

  /** `isHealthy`: whether the rules are those of now. */
  constructor(address: string, isHealthy: () => boolean) {
    this.#address = address;
    this.#isHealthy = isHealthy;
  }

  /** Those that stay are not closed in between. A port that is taken is tried again the next time. */
  async apply(checks: readonly HealthCheck[]): Promise<readonly ApplyProblem[]> {
    const wanted = new Map(checks.map((check) => [`${check.namespace}/${check.name}`, check]));
    for (const [key, { port }] of this.#listeners)
      if (wanted.get(key)?.port !== port) await this.#close(key);
    const problems: ApplyProblem[] = [];
    for (const [key, check] of wanted) {
      const known = this.#listeners.get(key);
      if (known !== undefined) known.check = check;
      else await this.#open(key, check, problems);
    }
    return problems;
  }

  async stop(): Promise<void> {
    for (const key of this.#listeners.keys()) await this.#close(key);
  }

  async #open(key: string, check: HealthCheck, problems: ApplyProblem[]): Promise<void> {
    const { port } = check;
    const server = createServer((_request, response) => {
      const own = this.#listeners.get(key);
      if (own !== undefined) answer(response, own.check, this.#isHealthy());
    });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host: this.#address, port, exclusive: true }, () => {
          server.off('error', reject);
          // Out of file descriptors, say: the balancer sees it, and asks again.
          server.on('error', () => {});
          resolve();
        });
      });
      // What asks now and then keeps no agent alive.
      server.unref();
      this.#listeners.set(key, { server, port, check });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      problems.push({ message: `Health-check port ${port} of ${key} can't be opened: ${why}.` });
    }
  }

  #close(key: string): Promise<void> {
    const listener = this.#listeners.get(key);
    this.#listeners.delete(key);
    return new Promise((resolve) => {
      if (listener === undefined) return resolve();
      listener.server.close(() => resolve());
      listener.server.closeAllConnections();
    });
  }
}

function answer(response: ServerResponse, check: HealthCheck, serviceProxyHealthy: boolean): void {
  const { namespace, name, localEndpoints } = check;
  const isFine = localEndpoints > 0 && serviceProxyHealthy;
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy };
  response.writeHead(isFine ? 200 : 503, {
    'Content-Type': 'application/json',
    'X-Content-Type-Options': 'nosniff',
    'X-Load-Balancing-Endpoint-Weight': String(localEndpoints),
  });
  response.end(JSON.stringify(body, null, '\t'));
}
