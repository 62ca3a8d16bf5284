// Members of the control plane on machines of a lab, which a person invited one by one, beside the laptop that founded the cluster and is not
// always there: so the three machines vote, and the laptop is a live copy.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { MembersReport } from '#kube/api/flotilla.ts';
import { eventually } from '../setup/cluster.ts';
import { root } from '../setup/machine.ts';
import { clusterCommand } from '../setup/members.ts';
import type { LabCluster } from './lab-cluster.ts';
import type { LabMachine } from './lab-machine.ts';

const [memberPort, apiPort] = [7450, 7443];
const data = '/var/lib/flotilla/member';
const invitation = '/root/invitation';
/** Votes are given after this, not after minutes. */
const env = 'FLOTILLA_VOTER_STABLE_MS=300';

export class LabMembers {
  readonly #home: LabCluster;
  readonly machines: LabMachine[] = [];

  constructor(home: LabCluster) {
    this.#home = home;
  }

  /** Starts the home, and three members on machines of it. */
  async start(): Promise<void> {
    const { lab } = this.#home;
    const address = `${lab.laptopAddress}:${memberPort}`;
    const flags = ['--member-address', address, '--always-on', 'no', '--node-name', 'laptop'];
    await this.#home.start({ flags, env: { FLOTILLA_VOTER_STABLE_MS: '300' } });
    for (const [i, name] of ['attic', 'cellar', 'kitchen'].entries()) {
      const machine = await lab.addMachine(name, '10.77.0', 11 + i);
      this.machines.push(machine);
      // All while the laptop leads: the first machine that runs day and night takes that over.
      await this.#invite(machine);
    }
    for (const machine of this.machines) await this.startOn(machine);
    await this.allVote();
  }

  /** URLs of their API servers. */
  addresses(): readonly string[] {
    return this.machines.map(({ address }) => `https://${address}:${apiPort}`);
  }

  async #invite(machine: LabMachine): Promise<void> {
    const { name, address } = machine;
    const { lab, cluster } = this.#home;
    const out = path.join(lab.folder, `${name}.invitation`);
    const args = ['invite', name, `${address}:${memberPort}`, '--out', out];
    const { code, stderr } = await clusterCommand(...args, '--data', cluster.dataDirectory);
    if (code !== 0) throw new Error(`invite ${name}: ${stderr}`);
    writeFileSync(machine.file(invitation), readFileSync(out), { mode: 0o600 });
    rmSync(out);
  }

  /** Its process; resolves when it serves. */
  async startOn(machine: LabMachine): Promise<void> {
    const flags = ['--headless', '--no-agent', '--data', data, '--ui-port', '0', '--port'];
    flags.push(String(apiPort), '--bind-address', '0.0.0.0', '--always-on', 'yes');
    flags.push('--node-name', machine.name);
    const look = `: > /var/log/member.log; [ -e ${data} ] || echo yes`;
    const isFirst = await machine.run('sh', '-c', look);
    if (isFirst !== '') flags.push('--join', invitation);
    const node = [process.execPath, path.join(root, 'electron/start.ts'), ...flags];
    machine.start('member', ['env', env, 'FLOTILLA_DISCOVERY=off', ...node]);
    await eventually(
      () => machine.run('grep', '-q', '^ready', '/var/log/member.log'),
      `the member on ${machine.name} serves`,
    );
  }

  async report(): Promise<MembersReport> {
    const text = await this.#home.cluster.kubectlOk('get', '--raw', '/flotilla/members');
    return JSON.parse(text) as MembersReport;
  }

  /** The machine whose member leads. */
  async leader(): Promise<LabMachine> {
    return await eventually(async () => {
      const { members } = await this.report();
      const name = members.find(({ isLeader }) => isLeader)?.name;
      return this.machines.find((machine) => machine.name === name);
    }, 'a machine leads');
  }

  async allVote(): Promise<void> {
    await eventually(async () => {
      const { members } = await this.report();
      const voters = members.filter((one) => one.role === 'voter' && one.health === 'running');
      return voters.length === 3 && voters.every(({ name }) => name !== 'laptop');
    }, 'the three machines vote');
  }
}
