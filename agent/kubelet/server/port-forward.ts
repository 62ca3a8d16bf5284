// Joins the pairs of streams that a client opens to connections into the pod. What is wrong with
// one connection is told on its own error stream and leaves the others alone.
// Source: kubernetes kubelet pkg/cri/streaming/portforward/httpstream.go (portForward).
import { joined } from '#platform/streams/join.ts';
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
