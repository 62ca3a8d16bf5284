// `npm run cluster -- …`: what a person does about the members that keep the state. `members`,
// `invite`, `remove`, `backup` and `machine-command` ask the control plane that runs on the data directory, as the
// administrator of its kubeconfig; `recover` works on a directory nothing runs on, `restore` on either.
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import type { BackupPassphrase } from '#kube/api/cluster-backup.ts';
import type { MemberReport, MembersReport } from '#kube/api/flotilla.ts';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import type { HttpMethod, TransportRequest } from '#kube/client/transport.ts';
import { singletonBackup } from '#kube/machinery/cluster-backup.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import { readKubeconfig } from '#platform/kubeconfig.ts';
import { clusterBackupPath } from './controlplane/backup/paths.ts';
import { formatInvitation, type Invitation } from './controlplane/members/invitation.ts';
import { machinesPath, type MachineCommand } from './controlplane/fleet/package/package-paths.ts';
import type { OfflineDeps } from './controlplane/members/offline.ts';
import { backupPath, membersPath } from './controlplane/members/paths.ts';
import { askPassphrase } from './passphrase-prompt.ts';

const help = `The machines that keep a cluster's state.

  npm run cluster -- COMMAND [--data DIR]

  members                    who there is, who leads, how far each is behind
  invite NAME HOST:PORT --out FILE
                             let another machine join, which will listen there. FILE is as good as the whole
                             cluster: carry it over safely, start with --join FILE, delete it
  remove NAME                for good: the machine can only come back by a new invitation
  backup --out FILE          the whole cluster (state, certificate authority, keys), encrypted for the passphrase that was
                             set, while everything runs: npm start -- --adopt FILE goes on with it on another computer
  backup FILE                the state alone, in the clear (not in it: the folder pki, whose keys Secrets need)
  passphrase [--typed]       what backups open by from now on: one that is made and shown once, or one that is asked for
  restore FILE [--other-cluster]
                             into a data directory without a state, which the next start goes on with; or in the
                             place of the state of a control plane that runs alone, which starts again with it
  recover [--yes]            a majority is gone for good: go on from this machine alone. Without --yes it only
                             says what that would cost

  machine-command NAME       a line to be run on another machine, which becomes the node NAME by it: for those who
                             let nobody log in. Good once, for ten minutes

Where members run on several machines, invite and remove are asked on the one that leads.
`;

/** Ends the command with its message. */
class CommandError extends Error {}

interface Command {
  readonly dataDirectory: string;
  readonly words: readonly string[];
  readonly out: string | undefined;
  readonly isSure: boolean;
  readonly isOther: boolean;
  readonly isTyped: boolean;
}

async function main(): Promise<void> {
  const command = parse(process.argv.slice(2));
  if (command === undefined) return void process.stdout.write(help);
  const [name, ...words] = command.words;
  const run = commands[name ?? ''];
  if (run === undefined) throw new CommandError(`There is no command "${name}".\n\n${help}`);
  await run({ ...command, words });
}

function parse(args: readonly string[]): Command | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        data: { type: 'string' },
        out: { type: 'string' },
        yes: { type: 'boolean' },
        'other-cluster': { type: 'boolean' },
        typed: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true || positionals.length === 0) return undefined;
    const dataDirectory = path.resolve(values.data ?? path.join(homedir(), '.flotilla'));
    const isOther = values['other-cluster'] === true;
    const isSure = values.yes === true;
    const isTyped = values.typed === true;
    return { dataDirectory, words: positionals, out: values.out, isSure, isOther, isTyped };
  } catch (error) {
    const [reason = ''] = (error as Error).message.split('. ');
    throw new CommandError(`${reason}. \`npm run cluster -- --help\` tells what there is.`, {
      cause: error,
    });
  }
}

const commands: Readonly<Record<string, (command: Command) => Promise<void>>> = {
  members,
  invite,
  remove,
  backup,
  restore,
  recover,
  passphrase,
  'machine-command': machineCommand,
};

async function members(command: Command): Promise<void> {
  taking(command, []);
  const report = (await ask(command, 'GET', membersPath)) as MembersReport;
  const rows = [['NAME', 'ROLE', 'HEALTH', 'BEHIND', 'ADDRESS'], ...report.members.map(row)];
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)));
  for (const cells of rows)
    say(
      cells
        .map((cell, i) => cell.padEnd(widths?.[i] ?? 0))
        .join('   ')
        .trimEnd(),
    );
  if (report.problem !== null) say(report.problem);
}

function row(member: MemberReport): string[] {
  const { name, role, isLeader, isSelf, health, lag, addresses } = member;
  const roleText = isLeader ? `${role} (leads)` : role;
  const behind = lag === null ? '?' : lag === 0 ? '-' : `${lag} entries`;
  const address = addresses.length === 0 ? '-' : addresses.join(',');
  return [isSelf ? `${name} (asked)` : name, roleText, health, behind, address];
}

async function invite(command: Command): Promise<void> {
  const [name = '', address = ''] = taking(command, ['NAME', 'HOST:PORT']);
  const { out } = command;
  if (out === undefined) throw new CommandError('invite needs --out FILE for the invitation.');
  if (existsSync(out)) throw new CommandError(`${out} exists already: choose another --out.`);
  const body = JSON.stringify({ name, address });
  const invitation = (await ask(command, 'POST', membersPath, body)) as Invitation;
  await writeFileAtomic(path.resolve(out), formatInvitation(invitation));
  say(`${name} may join: carry ${out} to it, then start there
  npm start -- --data DIR --join ${path.basename(out)}
with a DIR that is unused, and delete the file. Whoever has it has the cluster.`);
}

async function remove(command: Command): Promise<void> {
  const [name = ''] = taking(command, ['NAME']);
  await ask(command, 'DELETE', `${membersPath}/${encodeURIComponent(name)}`);
  say(`${name} is no member any more.`);
}

async function backup(command: Command): Promise<void> {
  if (command.out !== undefined) return await backupCluster(command, command.out);
  const [file = ''] = taking(command, ['FILE']);
  if (existsSync(file)) throw new CommandError(`${file} exists already: choose another name.`);
  const { checkBackup } = await import('./controlplane/store/backup.ts');
  await withTransport(command, async (transport) => {
    const answer = await transport.stream(request('GET', backupPath));
    if (answer.status !== 200) throw refusal(answer.status, await whole(answer.chunks));
    await save(answer.chunks, file, checkBackup);
  });
  say(
    `The state is in ${file}. Keep a copy of ${path.join(command.dataDirectory, 'pki')} with it: the keys are there without which Secrets can't be read.`,
  );
}

/** One encrypted file. It can't be opened here: that it is whole, the connection says. */
async function backupCluster(command: Command, file: string): Promise<void> {
  taking(command, []);
  if (existsSync(file)) throw new CommandError(`${file} exists already: choose another --out.`);
  const { readSealingKey } = await import('#platform/sealed-stream.ts');
  await withTransport(command, async (transport) => {
    const answer = await transport.stream(request('GET', clusterBackupPath));
    if (answer.status !== 200) throw refusal(answer.status, await whole(answer.chunks));
    await save(answer.chunks, file, async (unfinished) => {
      await readSealingKey(createReadStream(unfinished));
    });
  });
  say(`The cluster is in ${file}, encrypted for its passphrase. On another computer:
  npm start -- --adopt ${path.basename(file)}`);
}

async function passphrase(command: Command): Promise<void> {
  taking(command, []);
  const typed = command.isTyped ? await askPassphrase('Passphrase for backups: ') : undefined;
  const body = JSON.stringify({
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'BackupPassphrase',
    spec: typed === undefined ? {} : { passphrase: typed },
  });
  const target = `/apis/flotilla.dev/v1alpha1/clusterbackups/${singletonBackup}/passphrase`;
  const answer = (await ask(command, 'POST', target, body)) as BackupPassphrase;
  if (answer.status?.passphrase !== undefined) say(answer.status.passphrase);
  process.stderr
    .write(`Backups from now on open by this passphrase alone, older ones by the one of then. It is kept nowhere:
write it down, and keep it where the backups are not.
`);
}

async function whole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

/** A connection that breaks fails by `read`. */
const fileCalls = ['open', 'write', 'fsync', 'close'];

/** The file has its name only when it is whole and on disk. */
async function save(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
  check: (unfinished: string) => Promise<void>,
): Promise<void> {
  const unfinished = `${file}.unfinished`;
  try {
    const target = createWriteStream(unfinished, { mode: 0o600, flush: true });
    await pipeline(chunks, target).catch((error: unknown) => {
      const { syscall, message } = error as NodeJS.ErrnoException;
      if (!fileCalls.includes(syscall ?? '')) throw error;
      throw new CommandError(`${file} can't be written: ${message}.`, { cause: error });
    });
    await check(unfinished).catch((cause: unknown) => {
      const sentence = 'What came was no whole backup: nothing was kept of it. Ask again.';
      throw new CommandError(sentence, { cause });
    });
    renameSync(unfinished, file);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

async function restore(command: Command): Promise<void> {
  const [file = ''] = taking(command, ['FILE']);
  const offline = await import('./controlplane/members/offline.ts');
  try {
    await offline.restore(path.resolve(file), deps(command));
  } catch (error) {
    if ((error as Error).name !== 'DataDirectoryLockedError') throw error;
    return await restoreRunning(command, path.resolve(file));
  }
  const pki = path.join(command.dataDirectory, 'pki');
  say(
    `Restored into ${command.dataDirectory}: start it with --data ${command.dataDirectory}. Its Secrets need the keys they were encrypted with: if ${pki} is not the folder of then, copy that there first.`,
  );
}

/** In the place of what the control plane that runs there serves. */
async function restoreRunning(command: Command, file: string): Promise<void> {
  const { checkBackup } = await import('./controlplane/store/backup.ts');
  await checkBackup(file);
  await withTransport(command, async (transport) => {
    const query = { otherCluster: command.isOther || undefined };
    const headers = { accept: 'application/json', 'content-type': 'application/octet-stream' };
    const sent = { method: 'POST', path: backupPath, query, headers } as const;
    const { status, body } = await transport.request(sent, createReadStream(file));
    if (status >= 300) throw refusal(status, body);
  });
  say(`Restored: the control plane of ${command.dataDirectory} starts again with it. What was before is kept in
${command.dataDirectory} as superseded-DATE.`);
}

async function recover(command: Command): Promise<void> {
  taking(command, []);
  const offline = await import('./controlplane/members/offline.ts');
  if (!command.isSure) {
    const { unconfirmedEntries, before } = await offline.previewRecover(deps(command));
    const others = before.members.map(({ name }) => name).join(', ');
    say(`This machine would go on alone, as a new cluster with the same objects. It keeps all it has; of its last
${unconfirmedEntries} entries it does not know whether the others confirmed them. What they confirmed without it is
lost. Of the members until now (${others}) the others are refused when they come back:
make sure that none of them still runs, or two clusters would go on. Nothing was changed yet;
ask again with --yes to do it.`);
    return;
  }
  const { superseded } = await offline.recover(deps(command));
  say(`Recovered: start it with --data ${command.dataDirectory}. What was before is kept in
${superseded}. Invite the other machines anew.`);
}

/** The line on stdout, so that it can be copied; all else on stderr. */
async function machineCommand(command: Command): Promise<void> {
  const [name = ''] = taking(command, ['NAME']);
  const body = JSON.stringify({ name });
  const made = (await ask(command, 'POST', `${machinesPath}/commands`, body)) as MachineCommand;
  process.stderr
    .write(`Run this on the machine (it needs curl). It is good once, until ${made.expires}; whoever has it can
join a machine as ${name}. To take it back: kubectl -n kube-system delete secret bootstrap-token-${made.tokenId}

`);
  say(made.command);
}

function deps({ dataDirectory }: Command): OfflineDeps {
  return { dataDirectory, clock: systemClock, random: systemRandom, logger: silentLogger };
}

/** As many words as `names`. */
function taking({ words }: Command, names: readonly string[]): readonly string[] {
  if (words.length === names.length) return words;
  const wanted = names.length === 0 ? 'nothing' : names.join(' ');
  throw new CommandError(`This command takes ${wanted} behind it, not "${words.join(' ')}".`);
}

async function ask(
  command: Command,
  method: HttpMethod,
  target: string,
  body?: string,
): Promise<unknown> {
  return await withTransport(command, async (transport) => {
    const { status, body: answer } = await transport.request(request(method, target, body));
    if (status >= 300) throw refusal(status, answer);
    return JSON.parse(Buffer.from(answer).toString('utf8'));
  });
}

async function withTransport<T>(
  { dataDirectory }: Command,
  use: (transport: HttpsTransport) => Promise<T>,
): Promise<T> {
  const file = path.join(dataDirectory, 'kubeconfig');
  if (!existsSync(file))
    throw new CommandError(
      `There is no ${file}: is this the data directory? Start the cluster on it first.`,
    );
  const transport = new HttpsTransport(await readKubeconfig(file), systemClock);
  try {
    return await use(transport);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(
      `The control plane of ${dataDirectory} does not answer (${(error as Error).message}): start it first.`,
      { cause: error },
    );
  } finally {
    transport.close();
  }
}

function request(method: HttpMethod, target: string, body?: string): TransportRequest {
  const headers = { accept: 'application/json', 'content-type': 'application/json' };
  return { method, path: target, headers, ...(body === undefined ? {} : { body }) };
}

/** A Status has the sentence. */
function refusal(status: number, body: Uint8Array): CommandError {
  const text = Buffer.from(body).toString('utf8');
  try {
    const { message } = JSON.parse(text) as { readonly message?: string };
    if (message !== undefined) return new CommandError(message);
  } catch {
    // Not ours, then: told as it is.
  }
  return new CommandError(`The control plane answered ${status}: ${text}`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  await main();
} catch (error) {
  const isOurs = error instanceof Error && !(error instanceof TypeError);
  process.stderr.write(`${isOurs ? error.message : String((error as Error).stack)}\n`);
  process.exitCode = 1;
}
