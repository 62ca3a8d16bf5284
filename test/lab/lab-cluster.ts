// A cluster in the lab: the control plane on the laptop, an agent on each machine that joined. A machine joins as
// it does at home: with a bootstrap token, by which its agent asks for its certificates.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import type { RestClient } from '#kube/client/rest-client.ts';
import { nodes, secrets } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { formatKubeconfig, readKubeconfig } from '#platform/kubeconfig.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import { root } from '../setup/machine.ts';
import { Lab } from './lab.ts';
import type { LabMachine } from './lab-machine.ts';

const data = '/var/lib/flotilla/agent';
const bootstrapFile = '/var/lib/flotilla/bootstrap';

export interface LaptopOptions {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export class LabCluster {
  readonly lab = new Lab();
  #port = 0;
  #cluster: Cluster | undefined;

  /** The laptop and what runs on it. */
  async start({ flags: more = [], env = {} }: LaptopOptions = {}): Promise<this> {
    await this.lab.start();
    this.#port = await freePort();
    const port = ['--port', String(this.#port)];
    const flags = ['--no-agent', '--bind-address', '0.0.0.0', ...port, ...more];
    const options = { runAs: this.lab.onLaptop, usesDocker: false, env };
    this.#cluster = new Cluster(flags, undefined, options);
    await this.#cluster.start();
    await this.lab.openGate(this.#port);
    return this;
  }

  get cluster(): Cluster {
    if (this.#cluster === undefined) throw new Error('not started');
    return this.#cluster;
  }

  client(): Promise<RestClient> {
    return this.cluster.client();
  }

  /** Its agent starts; resolves when the node is ready. */
  async join(machine: LabMachine): Promise<void> {
    const { caPem } = await readKubeconfig(this.cluster.kubeconfig);
    const server = `https://${this.lab.laptopAddress}:${this.#port}`;
    const token = await this.#makeToken();
    const names = { cluster: 'flotilla', user: 'joining' };
    const config = { server, caPem, token, serverName: 'kubernetes' };
    mkdirSync(machine.file(data), { recursive: true });
    writeFileSync(machine.file(bootstrapFile), formatKubeconfig(config, names));
    this.startAgent(machine);
    await this.untilReady(machine);
  }

  startAgent(machine: LabMachine): void {
    machine.start('flotilla-agent', this.agentCommand(machine));
  }

  stopAgent(machine: LabMachine): Promise<void> {
    return machine.stop('flotilla-agent');
  }

  agentCommand(machine: LabMachine, ...more: readonly string[]): readonly string[] {
    const flags = ['--data', data, '--node-name', machine.name, '--bind', '0.0.0.0'];
    flags.push('--discovery', 'eth0');
    const main = path.join(root, 'out/agent/main.js');
    const bootstrap = ['--bootstrap-kubeconfig', bootstrapFile];
    return [process.execPath, main, ...flags, ...bootstrap, '--no-install', ...more];
  }

  async untilReady({ name }: LabMachine): Promise<void> {
    const client = await this.client();
    await eventually(async () => {
      const { status } = await client.get(nodes, { name });
      return getCondition(status?.conditions, 'Ready')?.status === 'True';
    }, `node ${name} is ready`);
  }

  async destroy(): Promise<void> {
    await this.#cluster?.destroy();
    await this.lab.destroy();
  }

  /** As `kubeadm token create` does. */
  async #makeToken(): Promise<string> {
    const [id, secret] = [randomBytes(3).toString('hex'), randomBytes(8).toString('hex')];
    const client = await this.client();
    await client.create(secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: 'kube-system', name: `bootstrap-token-${id}` },
      type: 'bootstrap.kubernetes.io/token',
      stringData: {
        'token-id': id,
        'token-secret': secret,
        'usage-bootstrap-authentication': 'true',
        'auth-extra-groups': 'system:bootstrappers:flotilla:machines',
      },
    });
    return `${id}.${secret}`;
  }
}
