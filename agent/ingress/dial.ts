// Whether somebody takes connections there: one is made and given up.
import { connect } from 'node:net';
import type { Clock } from '#kube/base/clock.ts';
import type { Endpoint } from '../proxy/endpoints.ts';
import type { Dial } from './reach.ts';

/**
 * How long a pod may take to be connected to: on a LAN it takes milliseconds. A first packet that is lost comes again
 * after just this long, so that of several pods another is asked instead.
 */
export const connectMs = 1_000;

export function dialler(clock: Clock): Dial {
  return ({ address: host, port }: Endpoint) =>
    new Promise((resolve) => {
      const socket = connect({ host, port });
      const end = (isReached: boolean): void => {
        timer.cancel();
        socket.destroy();
        resolve(isReached);
      };
      const timer = clock.timer(connectMs, () => end(false));
      socket.once('connect', () => end(true)).on('error', () => end(false));
    });
}
