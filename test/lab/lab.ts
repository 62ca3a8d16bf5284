// A home of simulated machines: their network, the laptop whose control plane they belong to, and the machines.
// Whatever way this process ends, no namespace, mount, interface or process of it is left; `destroy` takes the
// disks and cgroups as well.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { HeldNetwork, endInput, firstLine } from './held-network.ts';
import { HomeNetwork, type Segment } from './home-network.ts';
import { LabMachine, type LabMachineOptions } from './lab-machine.ts';

/** Runs on the laptop's network: what comes by the file goes to the port. $1: file, $2: port. */
const gate = `
const net = require('node:net');
const [file, port] = process.argv.slice(1);
net.createServer((here) => {
  const there = net.connect(Number(port), '127.0.0.1');
  here.pipe(there).pipe(here);
  for (const socket of [here, there]) socket.on('error', () => { here.destroy(); there.destroy(); });
}).listen(file, () => console.log('open'));
process.stdin.resume().on('end', () => process.exit(0));
`;

const laptopSegment = '10.77.0';

export class Lab {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'flotilla-home-'));
  readonly machines: LabMachine[] = [];
  readonly #network = new HomeNetwork();
  readonly #laptop = new HeldNetwork();
  #laptopHost = 1;
  #gate: ChildProcess | undefined;
  #server: Server | undefined;

  /** The network and the laptop on it. */
  async start(): Promise<this> {
    await Promise.all([this.#network.start(), this.#laptop.start()]);
    const plug = { port: 'p-laptop', segment: laptopSegment, host: this.#laptopHost } as const;
    await this.#network.plugIn(this.#laptop.pid, plug);
    return this;
  }

  get laptopAddress(): string {
    return `${laptopSegment}.${this.#laptopHost}`;
  }

  async changeLaptopAddress(host: number): Promise<void> {
    this.#laptopHost = host;
    await this.#network.changeAddress(this.#laptop.pid, laptopSegment, host);
  }

  /** The same command on the laptop, which shares everything but its network with this machine. */
  readonly onLaptop = (command: readonly string[]): readonly string[] =>
    this.#laptop.command(command);

  /** A port of this machine's loopback that leads to one of the laptop's, whose number it has. */
  async openGate(port: number): Promise<void> {
    const file = path.join(this.folder, 'gate');
    const node = [process.execPath, '-e', gate, file, String(port)];
    const [program = '', ...args] = this.onLaptop(node);
    this.#gate = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await firstLine(this.#gate, 'the gate');
    const server = createServer((here) => {
      const there = connect(file);
      here.pipe(there).pipe(here);
      for (const socket of [here, there])
        socket.on('error', () => {
          here.destroy();
          there.destroy();
        });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    if ((server.address() as AddressInfo).port !== port) throw new Error('not the same port');
  }

  /** Boots one more; `host` is the last part of its address. */
  async addMachine(
    name: string,
    segment: Segment,
    host: number,
    more: Pick<LabMachineOptions, 'hasEngine'> = {},
  ): Promise<LabMachine> {
    const { folder } = this;
    const network = this.#network;
    const machine = new LabMachine({ name, segment, host, folder, network, ...more });
    this.machines.push(machine);
    return machine.powerOn();
  }

  async destroy(): Promise<void> {
    this.#server?.close();
    await endInput(this.#gate);
    await Promise.all(this.machines.map((machine) => machine.destroy()));
    await Promise.all([this.#laptop.end(), this.#network.end()]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
