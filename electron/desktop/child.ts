// How the desktop app makes the cluster's processes: Electron utility processes, which are Node
// without a window. With FLOTILLA_NODE (the end-to-end tests' older Electron embeds a Node that is
// too old for better-sqlite3) they run on that Node instead.
import { utilityProcess } from 'electron';
import path from 'node:path';
import type { ChildMessage } from '#platform/parent-channel.ts';
import { childEnvironment, nodeChild, type ChildHandle } from '#platform/supervisor.ts';

export function spawnChild(file: string, args: readonly string[]): ChildHandle {
  const node = process.env['FLOTILLA_NODE'];
  if (node !== undefined) return nodeChild(file, args, { execPath: node });
  const name = path.basename(path.dirname(file));
  const child = utilityProcess.fork(file, [...args], {
    serviceName: `flotilla-${name}`,
    env: childEnvironment(file),
    stdio: 'inherit',
  });
  return {
    get pid() {
      return child.pid;
    },
    send: (message) => child.postMessage(message),
    kill(signal) {
      // utilityProcess.kill() sends SIGTERM only.
      if (signal === 'SIGTERM' || child.pid === undefined) child.kill();
      else process.kill(child.pid, signal);
    },
    onMessage: (listener) => void child.on('message', (message: ChildMessage) => listener(message)),
    onExit: (listener) => void child.once('exit', (code) => listener(code)),
  };
}
