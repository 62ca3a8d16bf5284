// Joins the pairs of streams that a client opens to connections into the pod. What is wrong with
// one connection is told on its own error stream and leaves the others alone.
// Source: kubernetes kubelet pkg/cri/streaming/portforward/httpstream.go (portForward).
import type { Duplex } from 'node:stream';
import type { PortPair } from '#platform/streams/port-streams.ts';
import type { PodRef } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import type { PodNetwork } from './pod-dialer.ts';

/** Resolves when the connection is over. */
export async function forwardPort(
  pair: PortPair,
  network: PodNetwork,
  { name, namespace, uid }: PodRef,
): Promise<void> {
  const { port, data } = pair;
  try {
    const socket = await network.connect(port);
    await joined(data, socket);
    pair.done();
  } catch (error) {
    const pod = `${name}_${namespace}`;
    pair.fail(`error forwarding port ${port} to pod ${pod}, uid ${uid}: ${messageOf(error)}`);
  }
}

/**
 * Copies both ways, each half by itself, until both have ended. A side that breaks takes the other
 * along; which of them broke does not matter, so it is no error.
 */
export function joined(a: Duplex, b: Duplex): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    function onClose(): void {
      open--;
      // The other one may have bytes of this one that it has not written yet: it is ended by them.
      if (open === 0) resolve();
    }
    function breakOff(): void {
      a.destroy();
      b.destroy();
    }
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      from.on('error', breakOff);
      from.once('close', () => {
        if (!from.readableEnded) breakOff();
        onClose();
      });
      from.pipe(to);
    }
    if (a.destroyed || b.destroyed) breakOff();
  });
}
