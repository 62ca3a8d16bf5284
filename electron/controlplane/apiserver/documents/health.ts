// /livez, /readyz and /healthz: named checks, each also on a path of its own. Alive means that a
// restart wouldn't help; ready means that the caches are filled and requests get true answers.
// Source: kubernetes apiserver pkg/server/healthz/healthz.go.
import { pageNotFound } from '#kube/machinery/status.ts';
import type { ApiRequest, ApiResponse } from '../http.ts';
import { textResponse } from '../status-response.ts';

export interface HealthCheck {
  readonly name: string;
  /** Readiness only: not being ready is no reason to restart. */
  readonly readyOnly?: boolean;
  /** Why it is not well; undefined when it is. */
  readonly check: () => string | undefined | Promise<string | undefined>;
}

const endpoints = ['livez', 'readyz', 'healthz'];

export class Health {
  readonly #checks: readonly HealthCheck[];

  constructor(checks: readonly HealthCheck[]) {
    this.#checks = [{ name: 'ping', check: () => undefined }, ...checks];
  }

  /** `/readyz`, `/readyz/etcd`, with `?verbose` and `?exclude=NAME`. Throws 404. */
  async answer(request: ApiRequest): Promise<ApiResponse> {
    const [endpoint = '', name, ...more] = request.path.split('/').filter((part) => part !== '');
    if (!endpoints.includes(endpoint) || more.length > 0) throw pageNotFound();
    const checks = this.#checks.filter(
      (check) => endpoint === 'readyz' || check.readyOnly !== true,
    );
    if (name === undefined) return this.#answerAll(request, endpoint, checks);
    const single = checks.find((check) => check.name === name);
    if (single === undefined) throw pageNotFound();
    const reason = await problemOf(single.check);
    return reason === undefined
      ? textResponse(200, 'ok')
      : textResponse(500, `internal server error: ${reason}\n`);
  }

  async #answerAll(
    request: ApiRequest,
    endpoint: string,
    checks: readonly HealthCheck[],
  ): Promise<ApiResponse> {
    const excluded = new Set(request.query.getAll('exclude'));
    const lines: string[] = [];
    let isWell = true;
    for (const check of checks) {
      if (excluded.delete(check.name)) {
        lines.push(`[+]${check.name} excluded: ok`);
        continue;
      }
      const reason = await problemOf(check.check);
      isWell &&= reason === undefined;
      // The reasons may tell too much to strangers; the log has them.
      lines.push(
        reason === undefined ? `[+]${check.name} ok` : `[-]${check.name} failed: reason withheld`,
      );
    }
    if (excluded.size > 0) {
      const names = [...excluded].map((name) => JSON.stringify(name)).join(',');
      lines.push(`warn: some health checks cannot be excluded: no matches for ${names}`);
    }
    if (isWell && !request.query.has('verbose')) return textResponse(200, 'ok');
    lines.push(`${endpoint} check ${isWell ? 'passed' : 'failed'}`);
    return textResponse(isWell ? 200 : 500, `${lines.join('\n')}\n`);
  }
}

export async function problemOf(check: HealthCheck['check']): Promise<string | undefined> {
  try {
    return await check();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
