// The outside contract of `npm start -- --headless`: its lines, its exit, its lock, its restarts.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { root } from '../setup/machine.ts';

const clusters: Cluster[] = [];
afterEach(async () => {
  for (const started of clusters.splice(0)) await started.destroy();
});

function cluster(args: readonly string[] = ['--no-agent'], dataDirectory?: string): Cluster {
  const made = new Cluster(args, dataDirectory);
  clusters.push(made);
  return made;
}

describe('npm start -- --headless', () => {
  it('prints api, ui, kubeconfig and ready, and keeps secrets to its owner', async () => {
    const running = await cluster().start();
    expect(running.apiUrl).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(running.uiUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/?#token=[\w-]{20,}$/);
    expect(running.kubeconfig).toBe(path.join(running.dataDirectory, 'kubeconfig'));
    expect(running.readyMs).toBeGreaterThan(0);
    expect((statSync(running.kubeconfig).mode & 0o777).toString(8)).toBe('600');
    expect(
      (statSync(path.join(running.dataDirectory, 'pki/ca.key')).mode & 0o777).toString(8),
    ).toBe('600');
  });

  it('ends on SIGTERM in under 5 s with code 0', async () => {
    const running = await cluster().start();
    const startedMs = performance.now();
    expect(await running.stop()).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  it('ends with code 0 also when npm is what gets the SIGTERM', async () => {
    const data = mkdtempSync(path.join(tmpdir(), 'flotilla-npm-'));
    const flags = ['--headless', '--data', data, '--port', '0', '--ui-port', '0', '--no-agent'];
    const npm = spawn('npm', ['start', '--', ...flags], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => npm.once('exit', resolve));
    try {
      let printed = '';
      npm.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
      await eventually(() => /^ready in \d+ ms$/m.test(printed), 'it is ready');
      npm.kill('SIGTERM');
      expect(await ended).toBe(0);
      expect(execFileSync('ps', ['-e', '-o', 'args='], { encoding: 'utf8' })).not.toContain(data);
    } finally {
      npm.kill('SIGKILL');
      rmSync(data, { recursive: true, force: true });
    }
  });

  it('refuses a second start on the same data directory, naming who holds it', async () => {
    const first = await cluster().start();
    const second = cluster(['--no-agent'], first.dataDirectory);
    const startedMs = performance.now();
    await expect(second.start()).rejects.toThrow(/in use/);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(second.stderr).toContain(String(first.childPids('controlplane')[0]));
    expect(second.stderr).not.toMatch(/\n\s+at /);
    expect((await first.kubectl('get', 'namespaces')).code).toBe(0);
  });

  it('loses nothing when the control plane is killed, and serves again on the same port', async () => {
    const running = await cluster().start();
    for (let n = 0; n < 20; n++) await running.kubectlOk('create', 'namespace', `n${n}`);
    running.killChild('controlplane');
    const names = await eventually(async () => {
      const result = await running.kubectl('get', 'namespaces', '-o', 'name');
      return result.code === 0 ? result.stdout.split('\n') : undefined;
    }, 'the API serves again');
    expect(
      Array.from({ length: 20 }, (_, n) => `namespace/n${n}`).filter(
        (name) => !names.includes(name),
      ),
    ).toEqual([]);
  });

  it('leaves no child behind when the launcher itself is killed', async () => {
    const running = await cluster().start();
    const [pid = 0] = running.childPids('controlplane');
    process.kill(running.pid, 'SIGKILL');
    await running.exited();
    await eventually(() => !existsSync(`/proc/${pid}`), 'the control plane ends');
  });

  it('says what to do about a port in use', async () => {
    const first = await cluster().start();
    const port = new URL(first.apiUrl).port;
    const second = cluster(['--no-agent', '--port', port]);
    await expect(second.start()).rejects.toThrow(`port ${port}`);
    expect(second.stderr).not.toMatch(/\n\s+at /);
  });

  it('refuses a corrupt database with a sentence, and leaves the file alone', async () => {
    const first = await cluster().start();
    await first.stop();
    const file = path.join(first.dataDirectory, 'store/state.db');
    const garbage = 'this is not a database '.repeat(1000);
    writeFileSync(file, garbage);
    const second = cluster(['--no-agent'], first.dataDirectory);
    await expect(second.start()).rejects.toThrow(file);
    expect(second.stderr).not.toMatch(/\n\s+at /);
    expect(readFileSync(file, 'utf8')).toBe(garbage);
  });

  it('loses nothing when somebody empties the database while the log still has it all', async () => {
    const first = await cluster().start();
    await first.kubectlOk('create', 'configmap', 'kept', '--from-literal=word=still-here');
    const before = await first.kubectlOk(
      'get',
      'namespace',
      'kube-system',
      '-o',
      'jsonpath={.metadata.uid}',
    );
    await first.stop();
    writeFileSync(path.join(first.dataDirectory, 'store/state.db'), '');
    const second = await cluster(['--no-agent'], first.dataDirectory).start();
    const word = await second.kubectlOk('get', 'configmap', 'kept', '-o', 'jsonpath={.data.word}');
    expect(word).toBe('still-here');
    const after = await second.kubectlOk(
      'get',
      'namespace',
      'kube-system',
      '-o',
      'jsonpath={.metadata.uid}',
    );
    expect(after).toBe(before);
  });

  it('never begins anew in silence when somebody deletes the database and its log', async () => {
    const first = await cluster().start();
    await first.stop();
    rmSync(path.join(first.dataDirectory, 'store'), { recursive: true });
    const second = cluster(['--no-agent'], first.dataDirectory);
    await expect(second.start()).rejects.toThrow('is missing or empty');
    expect(second.stderr).not.toMatch(/\n\s+at /);
  });

  it('explains every flag', () => {
    const help = execFileSync(process.execPath, [path.join(root, 'electron/start.ts'), '--help'], {
      encoding: 'utf8',
    });
    for (const flag of [
      '--headless',
      '--data',
      '--port',
      '--no-agent',
      '--ui-port',
      '--node-name',
      '--discovery',
      '--no-install',
    ])
      expect(help).toContain(flag);
  });
});
