// Programs that live no longer than this process.
import { existsSync } from 'node:fs';

/** Of util-linux, which is everywhere but where busybox is all there is. */
const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((file) => existsSync(file));

/**
 * The command as one that the kernel ends with this process, however that ends: a program that only listens would go on
 * until it has something to say.
 */
export function boundToUs(
  command: string,
  args: readonly string[],
): readonly [command: string, args: readonly string[]] {
  return setpriv === undefined
    ? [command, args]
    : [setpriv, ['--pdeathsig', 'KILL', '--', command, ...args]];
}
