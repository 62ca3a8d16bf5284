import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';

/** Its state as the kernel tells; undefined: it is gone. */
function stateOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // One that nobody has buried yet is dead all the same.
    const state = text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3);
    return state === 'Z' ? undefined : state;
  } catch {
    return undefined;
  }
}

it('a program that is followed ends with who follows it, also when that one is killed', async () => {
  const system = new URL('proxy/system.ts', import.meta.url).href;
  const script = `const { proxySystem } = await import(${JSON.stringify(system)});
    const print = (line) => console.log(line);
    void proxySystem(0).follow('sh', ['-c', 'echo $$; exec sleep 600'], print, new AbortController().signal);
    setInterval(() => {}, 1e9);`;
  const follower = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: follower.stdout }), 'line')) as [string];
  const pid = Number(line);
  expect(stateOf(pid)).toBeDefined();
  follower.kill('SIGKILL');
  await once(follower, 'exit');
  while (stateOf(pid) !== undefined) await pause(5);
  expect(stateOf(pid)).toBeUndefined();
});
