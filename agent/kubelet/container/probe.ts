// One shot of a probe or hook: exec, HTTP, TCP, gRPC. What counts as success and how failures read.
// Source: kubernetes pkg/probe/{exec,http,tcp}, pkg/kubelet/prober/prober.go.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import type { Container, HTTPGetAction, LifecycleHandler, Probe } from '#kube/api/core.ts';
import type { IntOrString } from '#kube/api/scalars.ts';
import { isRuntimeError, type Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { connectionFailure } from './connection-failure.ts';
import { grpcProbe } from './grpc-probe.ts';

export interface ProbeTarget {
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
}

export interface ProbeOutcome {
  readonly isSuccess: boolean;
  /** What is worth telling when it failed. */
  readonly output: string;
}

type Handler = Pick<Probe & LifecycleHandler, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'>;

const bodyLimitBytes = 10 * 1024;

export class ProbeRunner {
  readonly #runtime: Pick<Runtime, 'exec'>;

  constructor(runtime: Pick<Runtime, 'exec'>) {
    this.#runtime = runtime;
  }

  /** Never throws: whatever goes wrong is a failure with its reason. */
  async run(handler: Handler, target: ProbeTarget, timeoutMs: number): Promise<ProbeOutcome> {
    try {
      if (handler.exec !== undefined)
        return await this.#exec(handler.exec.command ?? [], target, timeoutMs);
      if (handler.httpGet !== undefined) return await httpProbe(handler.httpGet, target, timeoutMs);
      if (handler.tcpSocket !== undefined) {
        const { host, port } = handler.tcpSocket;
        return await tcpProbe(host ?? target.podIp, portNumber(port, target.container), timeoutMs);
      }
      if (handler.grpc !== undefined) {
        const { port, service = '' } = handler.grpc;
        const signal = AbortSignal.timeout(timeoutMs);
        return await grpcProbe({ host: target.podIp, port, service, timeoutMs, signal });
      }
      return { isSuccess: false, output: 'missing probe handler' };
    } catch (error) {
      return { isSuccess: false, output: messageOf(error) };
    }
  }

  async #exec(
    command: readonly string[],
    target: ProbeTarget,
    timeoutMs: number,
  ): Promise<ProbeOutcome> {
    try {
      const result = await this.#runtime.exec(target.containerId, command, timeoutMs);
      return { isSuccess: result.exitCode === 0, output: result.output };
    } catch (error) {
      if (!isRuntimeError(error, 'timeout')) throw error;
      return { isSuccess: false, output: `command ${quote(command)} timed out` };
    }
  }
}

function quote(command: readonly string[]): string {
  return JSON.stringify(command.join(' '));
}

/** A number, a number as text, or the name of one of the container's ports. */
export function portNumber(port: IntOrString, container: Container): number {
  const number = Number(port);
  if (Number.isInteger(number)) return number;
  const named = container.ports?.find((entry) => entry.name === port);
  if (named !== undefined) return named.containerPort;
  throw new Error(`couldn't find port: ${JSON.stringify(port)}`);
}

function httpProbe(
  action: HTTPGetAction,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  const isHttps = (action.scheme ?? 'HTTP').toUpperCase() === 'HTTPS';
  const host = action.host ?? target.podIp;
  const port = portNumber(action.port, target.container);
  const path = action.path === undefined || action.path === '' ? '/' : action.path;
  const url = `${isHttps ? 'https' : 'http'}://${host}:${port}${path}`;
  const headers: Record<string, string> = { 'user-agent': 'kube-probe/1.35', accept: '*/*' };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  const options = { host, port, path, headers, agent: false, rejectUnauthorized: false };
  return new Promise((resolve) => {
    const fail = (why: string) => resolve({ isSuccess: false, output: `Get "${url}": ${why}` });
    const signal = AbortSignal.timeout(timeoutMs);
    let isDialed = false;
    const send = isHttps ? httpsRequest : httpRequest;
    const request = send({ ...options, signal }, (response) => {
      const status = response.statusCode ?? 0;
      let sizeBytes = 0;
      response.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
        // The verdict stands with the status; a huge body is not waited for.
        if (sizeBytes > bodyLimitBytes) response.destroy();
      });
      response.on('error', (error) => fail(error.message));
      response.on('close', () =>
        resolve({
          isSuccess: status >= 200 && status < 400,
          output: `HTTP probe failed with statuscode: ${status}`,
        }),
      );
    });
    request.once('socket', (socket) => socket.once('connect', () => (isDialed = true)));
    request.on('error', (error) =>
      fail(
        signal.aborted
          ? 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
          : isDialed
            ? connectionFailure(error)
            : `dial tcp ${host}:${port}: ${connectionFailure(error)}`,
      ),
    );
    request.end();
  });
}

function tcpProbe(host: string, port: number, timeoutMs: number): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (isSuccess: boolean, why: string) => {
      socket.destroy();
      resolve({ isSuccess, output: `dial tcp ${host}:${port}: ${why}` });
    };
    socket.once('connect', () => end(true, ''));
    socket.once('timeout', () => end(false, 'i/o timeout'));
    socket.once('error', (error) => end(false, connectionFailure(error)));
  });
}
