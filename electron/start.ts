// `npm start`: builds what is stale, then runs the cluster on this machine: in Electron where its
// binary and a display are to be had, otherwise headless, with the user interface on loopback.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import manifest from '../package.json' with { type: 'json' };
import { systemClock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { dataDirectoryError, openDataDirectory } from '#platform/data-directory.ts';
import { processLogger } from '#platform/log-sink.ts';
import { exitCodes } from '#platform/parent-channel.ts';
import { nodeChild } from '#platform/supervisor.ts';
import { buildApart, isStale } from './build.ts';
import { ClusterProcesses, type ControlPlaneReady } from './cluster-processes.ts';
import { askPassphrase, passphraseVariable } from './passphrase-prompt.ts';
import { helpText, OptionError, parseLaunchOptions, type Options } from './options.ts';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
/** How long `ready` waits for this machine's node; the API and the UI serve long before. */
const nodePatienceMs = 2_500;

async function main(): Promise<void> {
  requireNode();
  const options = readOptions();
  if (options.help) return void process.stdout.write(helpText);
  if (isStale()) {
    process.stderr.write('Building Flotilla (a few seconds, only after a change) …\n');
    await buildApart();
  }
  if (options.adopt !== undefined) await adopt(options.adopt, options.dataDirectory);
  const electron = options.headless ? undefined : electronBinary();
  if (electron !== undefined) return runElectron(electron);
  runHeadless(options);
}

/** Ends the process with a sentence when the backup can't be adopted. */
async function adopt(file: string, dataDirectory: string): Promise<void> {
  const { adoptInto } = await import('./controlplane/backup/offline-adoption.ts');
  try {
    const passphrase = () => askPassphrase(`Passphrase of ${file}: `);
    const deps = { dataDirectory, release: manifest.version, clock: systemClock };
    const sentence = await adoptInto(file, { ...deps, passphrase, random: systemRandom });
    // For nobody who is started from here.
    delete process.env[passphraseVariable];
    process.stderr.write(`${sentence}\n`);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(exitCodes.cannotRun);
  }
}

function requireNode(): void {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (major >= 24) return;
  process.stderr.write(
    `Flotilla needs Node 24 and found ${process.versions.node}: run \`npm install\`, which brings it, then \`npm start\` again.\n`,
  );
  process.exit(exitCodes.cannotRun);
}

function readOptions(): Options {
  try {
    return parseLaunchOptions(process.argv.slice(2), process.env, networkInterfaces());
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(exitCodes.cannotRun);
  }
}

/** Electron's binary, if it is here and a window could be shown. Says why not. */
function electronBinary(): string | undefined {
  const hasDisplay =
    process.platform !== 'linux' ||
    process.env['DISPLAY'] !== undefined ||
    process.env['WAYLAND_DISPLAY'] !== undefined;
  if (!hasDisplay) return undefined;
  const override = process.env['ELECTRON_OVERRIDE_DIST_PATH'];
  const folder = path.join(root, 'node_modules/electron');
  const pathFile = path.join(folder, 'path.txt');
  const name = existsSync(pathFile) ? readFileSync(pathFile, 'utf8').trim() : 'electron';
  const binary = path.join(override ?? path.join(folder, 'dist'), name);
  if (existsSync(binary)) return binary;
  process.stderr.write(
    'Electron is not installed (`npx install-electron` fetches it); serving the app to your browser instead.\n',
  );
  return undefined;
}

function runElectron(binary: string): void {
  // Its control plane never sees --adopt, nor the passphrase.
  const { [passphraseVariable]: _passphrase, ...env } = process.env;
  const child = spawn(binary, [root, ...process.argv.slice(2)], { stdio: 'inherit', env });
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => void child.kill(signal));
  child.once('exit', (code) => process.exit(code ?? 1));
}

/** Ends the process with a sentence where the data directory can't be used. */
function openLog(directory: string): Logger {
  try {
    openDataDirectory(directory);
    return processLogger({
      directory: path.join(directory, 'logs'),
      name: 'start',
      clock: systemClock,
    });
  } catch (error) {
    const known = dataDirectoryError(error, directory);
    if (known === undefined) throw error;
    process.stderr.write(`${known.message}\n`);
    return process.exit(exitCodes.cannotRun);
  }
}

function runHeadless(options: Options): void {
  const logger = openLog(options.dataDirectory);
  // The supervisors' timers don't keep a process alive; this does.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  const announce = announcer(options);
  const processes = new ClusterProcesses({
    options,
    bundles: path.join(root, 'out'),
    spawn: nodeChild,
    clock: systemClock,
    logger,
    onReady: announce.serving,
    onAgent: announce.agent,
    onNotice: (sentence) => void process.stderr.write(`${sentence}\n`),
    onCannotRun(sentence) {
      process.stderr.write(`${sentence}\n`);
      process.exit(exitCodes.cannotRun);
    },
  });
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    clearInterval(keepAlive);
    void processes.stop().then(() => process.exit(0));
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);
  processes.start();
}

/** Prints the four lines of the outside contract, once: when the API serves and the node is known. */
function announcer(options: Options) {
  let ready: ControlPlaneReady | undefined;
  let said = false;
  function say(): void {
    if (said || ready === undefined) return;
    said = true;
    const lines = [`api ${ready.apiUrl}`, `ui ${ready.uiUrl}`, `kubeconfig ${ready.kubeconfig}`];
    lines.push(`ready in ${Math.round(performance.now())} ms`);
    process.stdout.write(`${lines.join('\n')}\n`);
  }
  return {
    serving(now: ControlPlaneReady): void {
      ready = now;
      if (options.agent) systemClock.timer(nodePatienceMs, say);
      else say();
    },
    agent(message: { readonly type: string }): void {
      if (message.type === 'ready' || message.type === 'not-ready') say();
    },
  };
}

await main();
