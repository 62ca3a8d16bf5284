// The control plane's process: takes the data directory for itself, starts, reports to whoever
// started it, stops in order. Errors that a person has to solve end it with a sentence.
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { systemClock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import { dataDirectoryError, fullDisk, openDataDirectory } from '#platform/data-directory.ts';
import { processLogger } from '#platform/log-sink.ts';
import { exitCodes, parentChannel } from '#platform/parent-channel.ts';
import { PkiError } from '#platform/pki.ts';
import { SealedValueError, SealingKeysError } from '#platform/sealing-keys.ts';
import { DataDirectoryLockedError, lockDataDirectory } from '#platform/sqlite.ts';
import { OptionError, parseOptions, type Options } from '../options.ts';
import { ListenError } from './apiserver/listener/listen-error.ts';
import { AuditPolicyError } from './apiserver/audit/policy-file.ts';
import { finishAdoption } from './backup/adoption.ts';
import { assertNotSuperseded, SupersededError } from './backup/succession.ts';
import { clusterConfig, ControlPlane } from './control-plane.ts';
import { DatastoreError } from './datastore.ts';
import { carryOutRecovery } from './members/recovery-request.ts';
import { acceptInvitation, InvitationError } from './members/invitation.ts';
import { CannotGoOnError } from './replica/types.ts';
import { DamagedRowError } from './store/mvcc.ts';
import { StoreOpenError } from './store/state-file.ts';

const { version } = manifest;
const channel = parentChannel();

/** Ends the process with words for a person: starting it again can't help. */
function cannotRun(sentence: string): never {
  channel.post({ type: 'fatal', message: sentence });
  if (!process.connected) process.stderr.write(`${sentence}\n`);
  process.exit(exitCodes.cannotRun);
}

/** The sentence in an error that a person has to solve; undefined for all others. */
function sentenceOf(error: unknown, options: Options): string | undefined {
  // The first objects did not fit any more.
  if (error instanceof StatusError && error.code === 507)
    return fullDisk(options.dataDirectory).message;
  const known = [
    AuditPolicyError,
    DataDirectoryLockedError,
    DatastoreError,
    InvitationError,
    ListenError,
    OptionError,
    PkiError,
    SealingKeysError,
    StoreOpenError,
    SupersededError,
  ];
  if (known.some((kind) => error instanceof kind)) return (error as Error).message;
  return dataDirectoryError(error, options.dataDirectory)?.message;
}

/**
 * The node's name is kept from the first start on: a laptop's host name changes with its network,
 * and a new name would be a new machine.
 */
async function nodeName(options: Options, invited: string | undefined): Promise<string> {
  const file = path.join(options.dataDirectory, 'node-name');
  if (options.nodeName === undefined) {
    try {
      const kept = (await readFile(file, 'utf8')).trim();
      if (kept !== '') return kept;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  const name = options.nodeName ?? invited ?? hostNodeName(hostname());
  await writeFileAtomic(file, `${name}\n`);
  return name;
}

function hostNodeName(host: string): string {
  const [first = ''] = host.toLowerCase().split('.');
  const name = first.replaceAll(/[^a-z0-9-]/g, '-').replaceAll(/^-+|-+$/g, '');
  return name === '' ? 'this-computer' : name.slice(0, 63);
}

/** For tests: votes move without the usual minutes of patience. */
function voterStableMs(): number | undefined {
  const text = process.env['FLOTILLA_VOTER_STABLE_MS'];
  return text === undefined || text === '' ? undefined : Number(text);
}

/** A person asked for it on the page, and this process was started again for it. */
async function recoverIfAsked(dataDirectory: string, logger: Logger): Promise<void> {
  const deps = { dataDirectory, clock: systemClock, random: systemRandom, logger };
  try {
    await carryOutRecovery(deps);
  } catch (error) {
    if (error instanceof DataDirectoryLockedError) throw error;
    logger.error('Could not go on from this machine alone: nothing was changed', { error });
    channel.post({ type: 'notice', message: (error as Error).message });
  }
}

async function run(options: Options): Promise<void> {
  const directory = options.dataDirectory;
  openDataDirectory(directory);
  const logger = processLogger({
    directory: path.join(directory, 'logs'),
    name: 'controlplane',
    clock: systemClock,
  });
  await recoverIfAsked(directory, logger);
  const lock = lockDataDirectory(directory, 'flotilla control plane', systemClock);
  process.on('uncaughtException', (error) => {
    logger.error('The control plane ends: unexpected error', { error });
    process.exit(1);
  });
  assertNotSuperseded(directory);
  const superseded = await finishAdoption(directory, systemClock);
  if (superseded.length > 0)
    logger.warn('A backup was adopted; what was here before is kept', { superseded });
  const invitation =
    options.join === undefined ? undefined : await acceptInvitation(options.join, directory);
  const name = await nodeName(options, invitation?.name);
  let isStopping = false;
  const stop = (why: string): void => {
    if (isStopping) return;
    isStopping = true;
    logger.info('Control plane stops', { why });
    void controlPlane.stop().then(() => {
      lock.release();
      process.exit(0);
    });
  };
  const controlPlane = new ControlPlane({
    options,
    nodeName: name,
    invitation,
    voterStableMs: voterStableMs(),
    version,
    pages: path.join(import.meta.dirname, '../renderer'),
    sshAgentSocket: process.env['SSH_AUTH_SOCK'],
    clock: systemClock,
    random: systemRandom,
    logger,
    onFatal(error) {
      logger.error('The control plane ends: one of its parts failed', { error });
      // The next start would end the same way.
      const hopeless = [CannotGoOnError, DamagedRowError, SealedValueError, SupersededError];
      if (hopeless.some((kind) => error instanceof kind)) cannotRun((error as Error).message);
      process.exit(1);
    },
    // The supervisor starts what ends unasked again.
    onRestart: stop,
    onNotice(sentence) {
      logger.warn('A person should know', { sentence });
      channel.post({ type: 'notice', message: sentence });
    },
  });
  channel.onStop(stop);
  const started = await controlPlane.start().catch((error: unknown) => {
    // What is still missing is not waited for any more.
    if (isStopping) return undefined;
    throw error;
  });
  if (started === undefined) return;
  const { apiUrl, apiPort, uiPort, uiToken } = started;
  logger.info('Control plane serves', { apiPort, uiPort, node: name });
  channel.post({
    type: 'ready',
    apiUrl,
    uiUrl: `http://127.0.0.1:${uiPort}/#token=${uiToken}`,
    kubeconfig: path.join(directory, 'kubeconfig'),
    authority: started.authority,
    apiPort,
    uiPort,
    nodeName: name,
    serviceCidr: clusterConfig.serviceCidr,
  });
}

try {
  const options = parseOptions(process.argv.slice(2), process.env);
  try {
    await run(options);
  } catch (error) {
    const sentence = sentenceOf(error, options);
    if (sentence === undefined) throw error;
    cannotRun(sentence);
  }
} catch (error) {
  if (error instanceof OptionError) cannotRun(error.message);
  process.stderr.write(`The control plane could not start: ${String((error as Error).stack)}\n`);
  process.exit(1);
}
